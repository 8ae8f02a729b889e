"""Chooses the instruments of a run, and checks its time range and origin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from extract.core.names import KIND, is_all, with_suggestions
from extract.core.ranges import TimeRange
from extract.core.times import format_time
from extract.deribit.instruments import Instrument
from extract.errors import PerpsError, UsageError
from extract.load.plan import Series


def choose(
    names: Sequence[str], listed: Sequence[Instrument], loaded: Sequence[str]
) -> tuple[list[Instrument], list[str]]:
    """Return the listed instruments of a run, and the names of those that are not listed.

    Args:
        names: as typed; `all` for every perpetual that is listed or loaded, none for the loaded ones.
        listed: what Deribit lists.
        loaded: what earlier runs loaded.

    Raises:
        UsageError: a name is neither listed nor loaded and does not end in -PERPETUAL, or there is no name
            and nothing is loaded.
    """
    if not names and not loaded:
        raise UsageError(
            "nothing is loaded yet; name instruments in --instruments, or run perps backfill first"
        )
    by_name = {instrument.name: instrument for instrument in listed}
    chosen = [*by_name, *loaded] if is_all(names) else names or loaded
    absent = [name for name in dict.fromkeys(chosen) if name not in by_name]
    expect_known([name for name in absent if not (name.endswith(KIND) or name in loaded)], by_name)
    return [by_name[name] for name in dict.fromkeys(chosen) if name in by_name], absent


def expect_known(unknown: Sequence[str], listed: Iterable[str]) -> None:
    """Refuse names that Deribit does not know.

    Raises:
        UsageError: there are some.
    """
    if unknown:
        raise UsageError(f"deribit does not list {with_suggestions(unknown, listed)}; see: perps instruments")


def expect_closed(time_range: TimeRange, series: Series) -> None:
    """Refuse a time range in which no bucket is closed yet.

    Args:
        time_range: start inclusive, end exclusive, UTC ms.
        series: what to load.

    Raises:
        UsageError: it begins after the newest closed bucket.
    """
    if series.ended_ms is None and time_range[0] >= series.end_ms:
        newest = "the end of the newest closed candle" if series.endpoint.has_resolution else "the next row"
        raise UsageError(
            f"expected --start before {format_time(series.end_ms)}, {newest} by deribit's clock, "
            f"got {format_time(time_range[0])}"
        )


def why_nothing(time_range: TimeRange, instrument: Instrument) -> str | None:
    """Return why an instrument has no candle in a time range, UTC ms; None if it may have some."""
    if time_range[1] <= instrument.created_ms:
        return f"deribit has no candle before {format_time(instrument.created_ms)}"
    if instrument.ended_ms is not None and time_range[0] >= instrument.ended_ms:
        return f"its last candle with volume ends at {format_time(instrument.ended_ms)}"
    return None


def check_origin(loaded: str | None, answering: str) -> None:
    """Refuse to mix synthetic or testnet candles with the market's.

    Raises:
        PerpsError: the database was loaded from another origin.
    """
    if loaded is not None and loaded != answering:
        raise PerpsError(
            f"this database holds {loaded} candles, but the api serves {answering} ones; "
            "use another database, or set DERIBIT_API_URL"
        )

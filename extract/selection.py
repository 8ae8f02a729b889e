"""Which instruments a run is about, and whether they may join what the database holds."""

from __future__ import annotations

from collections.abc import Sequence

from extract.deribit.instruments import Instrument
from extract.errors import PerpsError, UsageError
from extract.names import with_suggestions


def choose(
    names: Sequence[str], listed: Sequence[Instrument], loaded: Sequence[str]
) -> tuple[list[Instrument], list[str]]:
    """Return the instruments of a run, and those loaded before that are no longer listed.

    Args:
        names: as typed; `all` for every listed perpetual, none for those loaded before.
        listed: what Deribit lists.
        loaded: what earlier runs loaded.

    Raises:
        UsageError: an instrument is not listed, or none was named and none was loaded.
    """
    by_name = {instrument.name: instrument for instrument in listed}
    if is_all(names):
        return list(listed), sorted(set(loaded) - set(by_name))
    if not names and not loaded:
        raise UsageError("expected --instruments, because nothing is loaded yet; or run perps backfill first")
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise UsageError(
            f"expected instruments that deribit lists, got {with_suggestions(unknown, by_name)}; "
            "see: perps instruments"
        )
    wanted = names or [name for name in loaded if name in by_name]
    return [by_name[name] for name in dict.fromkeys(wanted)], sorted(set(loaded) - set(by_name))


def is_all(names: Sequence[str]) -> bool:
    """Tell whether a run is about every listed perpetual."""
    return [name.lower() for name in names] == ["all"]


def check_source(loaded: str | None, answering: str) -> None:
    """Refuse to mix synthetic or testnet candles with the market's.

    Raises:
        PerpsError: the database was loaded from another kind of source.
    """
    if loaded is not None and loaded != answering:
        raise PerpsError(
            f"expected {loaded} candles, as this database holds, got an api that serves {answering} ones; "
            "use another database, or set DERIBIT_API_URL"
        )

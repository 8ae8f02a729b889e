"""The source's state in dlt: cursors, owed windows, and landed times; pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from extract.core.ranges import TimeRange, merge, subtract
from extract.load.endpoint import Endpoint
from extract.load.fetch import WindowResult
from extract.load.plan import Cursor

SOURCE = "deribit"
ENDED = "ended "
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def owed_after(owed: Mapping[str, Any], results: Sequence[WindowResult]) -> dict[str, list[list[int]]]:
    """Return the owed windows after these results: without the fetched ones, with the failed ones.

    Args:
        owed: per series, the ranges [start, end) owed before, UTC ms.
        results: a package's results; a window that was given up without a request is owed, too.
    """
    after = {key: [tuple(one) for one in ranges] for key, ranges in owed.items()}
    for result in results:
        key, one = _series_and_range(result)
        if result.error is None:
            after[key] = subtract(after.get(key, []), [one])
        else:
            after[key] = merge([*after.get(key, []), one])
    return {key: [list(one) for one in ranges] for key, ranges in after.items() if ranges}


def landed_after(landed: Mapping[str, Any], results: Sequence[WindowResult]) -> dict[str, list[list[int]]]:
    """Return the landed ranges after these results. Outside of them no row was ever landed.

    Args:
        landed: per series, the ranges [start, end) landed before, UTC ms.
        results: a package's results.
    """
    after = {key: [tuple(one) for one in ranges] for key, ranges in landed.items()}
    for result in results:
        if result.error is None:
            key, one = _series_and_range(result)
            after.setdefault(key, []).append(one)
    return {key: [list(one) for one in merge(ranges)] for key, ranges in after.items()}


def _series_and_range(result: WindowResult) -> tuple[str, TimeRange]:
    window = result.window
    return window.series, (window.start_ms, window.end_ms)


def read_cursor(state: Mapping[str, Any], instrument: str, endpoint: Endpoint) -> Cursor:
    """Return how far an instrument is loaded, from the pipeline's state."""
    found, series = state.get("sources", {}).get(SOURCE, {}), endpoint.series(instrument)
    last = (
        found.get("resources", {})
        .get(series, {})
        .get("incremental", {})
        .get("timestamp", {})
        .get("last_value")
    )
    owed = found.get("owed", {}).get(series, [])
    last_ms = None if last is None or last == EPOCH else int(last.timestamp() * 1000)
    if last_ms is not None and endpoint.at_open:
        last_ms = endpoint.resolution.floor(last_ms)
    return Cursor(last_ms, tuple((start, end) for start, end in owed))


def loaded_instruments(state: Mapping[str, Any], endpoint: Endpoint) -> list[str]:
    """Return the instruments that have a cursor, or owe a window, at an endpoint."""
    found = state.get("sources", {}).get(SOURCE, {})
    named = [series.split(" ") for series in [*found.get("resources", {}), *found.get("owed", {})]]
    return sorted(
        {parts[1] for parts in named if len(parts) == 3 and endpoint.series(parts[1]) == " ".join(parts)}
    )


def landed_ranges(state: Mapping[str, Any], instrument: str, endpoint: Endpoint) -> tuple[TimeRange, ...]:
    """Return which times [start, end) of a series were landed, ascending, UTC ms."""
    landed = state.get("sources", {}).get(SOURCE, {}).get("landed", {})
    return tuple((start, end) for start, end in landed.get(endpoint.series(instrument), ()))


def ended_instruments(state: Mapping[str, Any]) -> dict[str, int]:
    """Return the end, UTC ms, of each delisted perpetual that is fully loaded and was not listed again."""
    known = state.get("sources", {}).get(SOURCE, {}).get("instruments", {})
    return {
        name: int(fingerprint.removeprefix(ENDED))
        for name, fingerprint in known.items()
        if fingerprint.startswith(ENDED)
    }


def loaded_origin(state: Mapping[str, Any]) -> str | None:
    """Return the origin of the loaded rows: live, testnet or simulator; None before the first load."""
    origin: str | None = state.get("sources", {}).get(SOURCE, {}).get("origin")
    return origin

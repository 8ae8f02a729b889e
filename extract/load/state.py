"""The source's state in dlt: cursors, owed windows, and landed times; pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from extract.core.ranges import TimeRange, merge, subtract
from extract.core.resolution import Resolution
from extract.load.fetch import WindowResult
from extract.load.plan import Cursor

SOURCE = "deribit"
ENDED = "ended "
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def resource_name(instrument: str, resolution: Resolution) -> str:
    """Return the name of the resource that carries an instrument's cursor at one resolution."""
    return f"candles {instrument} {resolution.name}"


def owed_after(owed: Mapping[str, Any], results: Sequence[WindowResult]) -> dict[str, list[list[int]]]:
    """Return the owed windows after these results: without the fetched ones, with the failed ones.

    Args:
        owed: per `<instrument> <resolution>`, the ranges [start, end) owed before, UTC ms.
        results: a package's results; a window that was given up unasked is owed like one that failed.
    """
    after = {key: [tuple(one) for one in ranges] for key, ranges in owed.items()}
    for result in results:
        key, one = _asked(result)
        if result.error is None:
            after[key] = subtract(after.get(key, []), [one])
        else:
            after[key] = merge([*after.get(key, []), one])
    return {key: [list(one) for one in ranges] for key, ranges in after.items() if ranges}


def landed_after(landed: Mapping[str, Any], results: Sequence[WindowResult]) -> dict[str, list[list[int]]]:
    """Return the landed times after these results. At other times no candle was ever landed.

    Args:
        landed: per `<instrument> <resolution>`, the ranges [start, end) landed before, UTC ms.
        results: a package's results.
    """
    after = {key: [tuple(one) for one in ranges] for key, ranges in landed.items()}
    for result in results:
        if result.error is None:
            key, one = _asked(result)
            after.setdefault(key, []).append(one)
    return {key: [list(one) for one in merge(ranges)] for key, ranges in after.items()}


def _asked(result: WindowResult) -> tuple[str, TimeRange]:
    window = result.window
    return owed_key(window.instrument, window.resolution), (window.start_ms, window.end_ms)


def owed_key(instrument: str, resolution: Resolution) -> str:
    """Return the key of an instrument and resolution in the source's state."""
    return f"{instrument} {resolution.name}"


def read_cursor(state: Mapping[str, Any], instrument: str, resolution: Resolution) -> Cursor:
    """Return how far an instrument is loaded, from the pipeline's state."""
    found = state.get("sources", {}).get(SOURCE, {})
    resource = found.get("resources", {}).get(resource_name(instrument, resolution), {})
    last = resource.get("incremental", {}).get("timestamp", {}).get("last_value")
    owed = found.get("owed", {}).get(owed_key(instrument, resolution), [])
    last_ms = None if last is None or last == EPOCH else int(last.timestamp() * 1000)
    return Cursor(last_ms, tuple((start, end) for start, end in owed))


def loaded_instruments(state: Mapping[str, Any], resolution: Resolution) -> list[str]:
    """Return the instruments that have a cursor, or owe a window, at a resolution."""
    found = state.get("sources", {}).get(SOURCE, {})
    keys = [
        name.removeprefix("candles ") for name in found.get("resources", {}) if name.startswith("candles ")
    ]
    named = [key.rsplit(" ", 1) for key in [*keys, *found.get("owed", {})]]
    return sorted({instrument for instrument, name in named if name == resolution.name})


def landed_ranges(state: Mapping[str, Any], resolution: Resolution) -> dict[str, list[TimeRange]]:
    """Return per instrument which times [start, end) were landed at a resolution, UTC ms."""
    landed = state.get("sources", {}).get(SOURCE, {}).get("landed", {})
    named = [(*key.rsplit(" ", 1), ranges) for key, ranges in landed.items()]
    return {
        instrument: [(start, end) for start, end in ranges]
        for instrument, name, ranges in named
        if name == resolution.name
    }


def ended_instruments(state: Mapping[str, Any]) -> dict[str, int]:
    """Return the end, UTC ms, of each delisted perpetual that landed whole and was not listed since."""
    known = state.get("sources", {}).get(SOURCE, {}).get("instruments", {})
    return {
        name: int(fingerprint.removeprefix(ENDED))
        for name, fingerprint in known.items()
        if fingerprint.startswith(ENDED)
    }


def loaded_origin(state: Mapping[str, Any]) -> str | None:
    """Return the origin of the loaded candles: live, testnet or simulator; None before the first load."""
    origin: str | None = state.get("sources", {}).get(SOURCE, {}).get("origin")
    return origin

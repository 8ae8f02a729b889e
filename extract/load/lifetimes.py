"""Finds when the candles of a perpetual begin and end, if its listing does not show it.

A listing is only a hint. A relisted perpetual has the date of its relisting, but Deribit still has its
older candles. For a delisted perpetual, Deribit returns flat candles for ever (FACTS: seen). One or
two requests for candles find the first and the last day.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pyarrow.compute as pc

from extract.core.resolution import HOUR_MS, RESOLUTIONS, Resolution
from extract.core.times import OLDEST_MS
from extract.deribit.client import DeribitClient
from extract.deribit.errors import BadReplyError, PermanentError
from extract.deribit.instruments import Instrument
from extract.load.endpoint import candles
from extract.load.fetch import WindowResult, fetch_window
from extract.load.plan import Window
from extract.load.prefetch import Prefetcher

DAY = RESOLUTIONS["1D"]
OLDEST_DAY_MS = DAY.floor(OLDEST_MS)

SETTLED_AFTER_MS = HOUR_MS
"""How long a delisted perpetual must have no volume before its end is final: a listing may lack a name by
mistake, and late trades may arrive."""


@dataclass
class Lifetimes:
    """The perpetuals whose first or last candle was looked for.

    Attributes:
        found: perpetuals with their first day; delisted ones also with the end of their last candle with
            volume.
        unknown: names that Deribit does not list, and for which it has no candle with volume.
        failed: results of the windows that failed; their perpetuals are in neither list.
    """

    found: list[Instrument] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    failed: list[WindowResult] = field(default_factory=list)


def find_first_days(client: DeribitClient, listed: Sequence[Instrument]) -> Lifetimes:
    """Return listed perpetuals; if the oldest candle is before the listing, with its day as creation time.

    Args:
        client: the Deribit client; sends one request per perpetual.
        listed: the perpetuals.
    """
    lifetimes = Lifetimes()
    windows = [_days(one.name, DAY.floor(one.created_ms)) for one in listed]
    for one, days in zip(listed, _ask(client, windows, lambda window: window.end_ms), strict=True):
        if days.error is not None:
            lifetimes.failed.append(days)
            continue
        first = [days.rows["timestamp"][0].value] if days.rows.num_rows else []
        lifetimes.found.append(replace(one, created_ms=min([one.created_ms, *first])))
    return lifetimes


def find_delisted(
    client: DeribitClient, names: Sequence[str], resolution: Resolution, now_ms: int
) -> Lifetimes:
    """Return perpetuals that are no longer listed: from their first day to their last candle with volume.

    Args:
        client: the Deribit client; requests daily candles, then the candles of the last day with volume.
        names: their names.
        resolution: of the candles to load; the end is the end of one of these.
        now_ms: the server's clock, UTC ms.
    """
    lifetimes, lasts = Lifetimes(), []
    windows = [_days(name, DAY.floor(now_ms) + DAY.step_ms) for name in names]
    for days in _ask(client, windows, lambda window: window.start_ms):
        name = days.window.instrument
        last_day = _last_traded(days)
        if days.error is not None and not isinstance(days.error, PermanentError):
            lifetimes.failed.append(days)
        elif last_day is None:
            lifetimes.unknown.append(name)
        else:
            found = Instrument(name, days.rows["timestamp"][0].value, is_active=False)
            start = resolution.floor(last_day)
            lasts.append(
                (found, Window(name, start, last_day + DAY.step_ms, candles(resolution), forward=False))
            )
    results = _ask(client, [window for _, window in lasts], lambda window: window.start_ms)
    for (found, _), result in zip(lasts, results, strict=True):
        last = _last_traded(result)
        if result.error is not None:
            lifetimes.failed.append(result)
        elif last is None:
            error = BadReplyError("deribit has no candle with volume on the last day with volume")
            lifetimes.failed.append(replace(result, error=error))
        else:
            lifetimes.found.append(replace(found, ended_ms=last + resolution.step_ms))
    return lifetimes


def is_settled(ended_ms: int, now_ms: int) -> bool:
    """Return whether the end of a delisted perpetual is final; see `SETTLED_AFTER_MS`. Both in UTC ms."""
    return ended_ms + SETTLED_AFTER_MS <= now_ms


def _days(name: str, end_ms: int) -> Window:
    return Window(name, OLDEST_DAY_MS, end_ms, candles(DAY), forward=False)


def _ask(
    client: DeribitClient, windows: Sequence[Window], expected_from: Callable[[Window], int]
) -> list[WindowResult]:
    """Fetch windows and return their results; holes after `expected_from` are fetched again."""

    def fetch(window: Window) -> WindowResult:
        return fetch_window(client, window, expected_from(window))

    with Prefetcher(fetch, windows, ahead=len(windows), stop=client.stop) as prefetcher:
        return prefetcher.take(len(windows))


def _last_traded(result: WindowResult) -> int | None:
    """Return the open of the newest candle with volume, UTC ms, or None; a null counts as volume."""
    rows = result.rows
    silent = pc.fill_null(pc.equal(rows["volume"], 0), False)
    traded = rows.filter(pc.invert(silent))["timestamp"]
    return traded[-1].value if len(traded) else None

"""Decides which faults apply to a request, and applies the market's faults to its candles."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from extract.simulator.candles import MINUTE_MS, PRICES, VALUES, Candles
from extract.simulator.faults import ReplyFault
from extract.simulator.market import Adjust, Source, uniform
from extract.simulator.marketfaults import (
    BadCandle,
    Delisted,
    Fault,
    Outage,
    Relisted,
    Revision,
    RowRevision,
)


@dataclass(frozen=True)
class Asked:
    """The parameters of a request that faults match on; the window is in ms, both ends inclusive."""

    method: str
    instrument: str | None = None
    resolution: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None


class FaultBook:
    """The faults in force, and how often each has matched. Safe to use from several threads."""

    def __init__(self, faults: Sequence[Fault] = (), seed: int = 7) -> None:
        self._lock = threading.Lock()
        self._seed = seed
        self._faults: tuple[Fault, ...] = ()
        self._matched: Counter[tuple[int, Asked | None]] = Counter()
        self.replace(faults)

    def replace(self, faults: Sequence[Fault]) -> None:
        """Replace the faults; all counts start again."""
        with self._lock:
            self._faults = tuple(faults)
            self._matched.clear()

    def due(self, request: Asked) -> list[ReplyFault]:
        """Return the faults that apply to this request, in their given order, and count the request."""
        with self._lock:
            replies = [(n, fault) for n, fault in enumerate(self._faults) if isinstance(fault, ReplyFault)]
            matching = [(n, fault) for n, fault in replies if _matches(fault, request)]
            return [fault for n, fault in matching if self._hits(n, fault, request)]

    def listed_at(self, instrument: str, created_ms: int, now_ms: int) -> int | None:
        """Return the creation time that the listing shows at `now_ms`, UTC ms; None: not listed then."""
        with self._lock:
            changes = [
                fault
                for fault in self._faults
                if isinstance(fault, Delisted | Relisted) and fault.instrument == instrument
            ]
        past = [fault for fault in changes if fault.at <= now_ms]
        if not past:
            later = [fault.at for fault in changes if isinstance(fault, Relisted)]
            return None if later and len(later) == len(changes) else created_ms
        last = max(past, key=lambda fault: fault.at)
        return last.at if isinstance(last, Relisted) else None

    def gone(self, instrument: str) -> tuple[tuple[int, int], ...]:
        """Return when a perpetual is not listed after it was delisted: [start, end) in UTC ms."""
        with self._lock:
            return _gone(self._faults, instrument)

    def revised(self, method: str, instrument: str, now_ms: int) -> list[RowRevision]:
        """Return the revisions of rows of a method that are in force at a time (UTC ms)."""
        with self._lock:
            revisions = [fault for fault in self._faults if isinstance(fault, RowRevision)]
        mine = (method, instrument)
        return [
            fault for fault in revisions if (fault.method, fault.instrument) == mine and fault.since <= now_ms
        ]

    def adjust(self, now_ms: int, market: Source) -> Adjust | None:
        """Return the faults of the market at an instant as a change to candles; None without any."""
        with self._lock:
            outages = [fault for fault in self._faults if isinstance(fault, Outage)]
            wrong = [
                fault
                for fault in self._faults
                if isinstance(fault, BadCandle) and (not isinstance(fault, Revision) or fault.since <= now_ms)
            ]
            dead = self._dead(market)
        if not outages and not wrong and not dead:
            return None

        def change(instrument: str, candles: Candles) -> Candles:
            for span in dead.get(instrument, ()):
                candles = _flat(candles, *span)
            return _without(instrument, _with(instrument, candles, wrong), outages)

        return change

    def _dead(self, market: Source) -> dict[str, list[tuple[int, int, float]]]:
        """Return per perpetual when it was not listed, [start, end) in UTC ms, and its last price before."""
        dead: dict[str, list[tuple[int, int, float]]] = {}
        for name in market.listings:
            for at, end in _gone(self._faults, name):
                last = market.candles(name, "1", at - MINUTE_MS, at - 1)
                dead.setdefault(name, []).append((at, end, float(last.close[-1])))
        return dead

    def _hits(self, number: int, fault: ReplyFault, request: Asked) -> bool:
        self._matched[number, request] += 1
        if fault.per_window:
            seen = self._matched[number, request]
        else:
            self._matched[number, None] += 1
            seen = self._matched[number, None]
        if seen <= fault.skip or (fault.times is not None and seen > fault.skip + fault.times):
            return False
        attempt = np.array([self._matched[number, request]], dtype=np.int64)
        return bool(uniform(f"{self._seed}/fault{number}/{request}", attempt)[0] < fault.probability)


def _gone(faults: Sequence[Fault], instrument: str) -> tuple[tuple[int, int], ...]:
    mine = [fault for fault in faults if fault.instrument == instrument]
    back = [fault.at for fault in mine if isinstance(fault, Relisted)]
    left = [fault.at for fault in mine if isinstance(fault, Delisted)]
    return tuple((at, min((one for one in back if one > at), default=2**62)) for at in left)


def _matches(fault: ReplyFault, request: Asked) -> bool:
    if fault.method not in ("any", request.method):
        return False
    if fault.instrument not in (None, request.instrument) or fault.resolution not in (
        None,
        request.resolution,
    ):
        return False
    if fault.start is None and fault.end is None:
        return True
    if request.start_ms is None or request.end_ms is None:
        return False
    return (fault.end is None or request.start_ms < fault.end) and (
        fault.start is None or request.end_ms >= fault.start
    )


def _flat(candles: Candles, start_ms: int, end_ms: int, price: float) -> Candles:
    """Return candles that stand still from `start_ms` to `end_ms` (exclusive)."""
    still = (candles.ticks >= start_ms) & (candles.ticks < end_ms)
    values = dict.fromkeys(VALUES, 0.0) | dict.fromkeys(PRICES, price)
    columns = {name: np.where(still, value, getattr(candles, name)) for name, value in values.items()}
    return Candles(ticks=candles.ticks, **columns)


def _with(instrument: str, candles: Candles, wrong: Sequence[BadCandle]) -> Candles:
    changed: dict[str, np.ndarray] = {}
    for fault in wrong:
        if fault.instrument not in (None, instrument):
            continue
        for index in np.flatnonzero(candles.ticks == fault.at):
            for name, value in fault.values.items():
                changed.setdefault(name, getattr(candles, name).copy())[index] = value
    if not changed:
        return candles
    columns = {name: changed.get(name, getattr(candles, name)) for name in VALUES}
    return Candles(ticks=candles.ticks, **columns)


def _without(instrument: str, candles: Candles, outages: Sequence[Outage]) -> Candles:
    kept = np.ones(len(candles), dtype=bool)
    for outage in outages:
        if outage.instrument in (None, instrument):
            kept &= (candles.ticks < outage.start) | (candles.ticks >= outage.end)
    return candles if kept.all() else candles.take(kept)

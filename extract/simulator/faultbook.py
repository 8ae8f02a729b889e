"""Which fault hits which request, and the faults of the market as a change to its candles."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from extract.simulator.candles import VALUES, Candles
from extract.simulator.faults import BadCandle, Fault, Outage, ReplyFault, Revision
from extract.simulator.market import Adjust, uniform


@dataclass(frozen=True)
class Asked:
    """A request as faults see it; only chart requests have an instrument and a window (ms, inclusive)."""

    method: str
    instrument: str | None = None
    resolution: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None


class FaultBook:
    """The faults in force and how often each has matched. Safe to use from several threads."""

    def __init__(self, faults: Sequence[Fault] = (), seed: int = 7) -> None:
        self._lock = threading.Lock()
        self._seed = seed
        self._faults: tuple[Fault, ...] = ()
        self._matched: Counter[tuple[int, Asked | None]] = Counter()
        self.replace(faults)

    def replace(self, faults: Sequence[Fault]) -> None:
        """Put other faults in force; all counts start again."""
        with self._lock:
            self._faults = tuple(faults)
            self._matched.clear()

    def due(self, asked: Asked) -> list[ReplyFault]:
        """Return the faults that hit this request, in the order they were given, and count it."""
        with self._lock:
            replies = [(n, fault) for n, fault in enumerate(self._faults) if isinstance(fault, ReplyFault)]
            matching = [(n, fault) for n, fault in replies if _matches(fault, asked)]
            return [fault for n, fault in matching if self._hits(n, fault, asked)]

    def adjust(self, now_ms: int) -> Adjust | None:
        """Return the faults of the market at an instant as a change to candles; None without any."""
        with self._lock:
            outages = [fault for fault in self._faults if isinstance(fault, Outage)]
            wrong = [
                fault
                for fault in self._faults
                if isinstance(fault, BadCandle) and (not isinstance(fault, Revision) or fault.since <= now_ms)
            ]
        if not outages and not wrong:
            return None

        def change(instrument: str, candles: Candles) -> Candles:
            return _without(instrument, _with(instrument, candles, wrong), outages)

        return change

    def _hits(self, number: int, fault: ReplyFault, asked: Asked) -> bool:
        self._matched[number, asked] += 1
        if fault.per_window:
            seen = self._matched[number, asked]
        else:
            self._matched[number, None] += 1
            seen = self._matched[number, None]
        if seen <= fault.skip or (fault.times is not None and seen > fault.skip + fault.times):
            return False
        attempt = np.array([self._matched[number, asked]], dtype=np.int64)
        return bool(uniform(f"{self._seed}/fault{number}/{asked}", attempt)[0] < fault.probability)


def _matches(fault: ReplyFault, asked: Asked) -> bool:
    if fault.method not in ("any", asked.method):
        return False
    if fault.instrument not in (None, asked.instrument) or fault.resolution not in (None, asked.resolution):
        return False
    if fault.start is None and fault.end is None:
        return True
    if asked.start_ms is None or asked.end_ms is None:
        return False
    return (fault.end is None or asked.start_ms < fault.end) and (
        fault.start is None or asked.end_ms >= fault.start
    )


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

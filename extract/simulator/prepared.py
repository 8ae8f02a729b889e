"""Minute replies rendered in advance as bytes, so that benchmarks measure only the client."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context

import numpy as np
import orjson
from numpy.typing import NDArray

from extract.simulator.candles import COLUMNS, MINUTE_MS
from extract.simulator.market import Market
from extract.simulator.reply import chart, chart_order

PART_MINUTES = 200_000
_ALONE = 1_000_000  # so many minutes take about as long as starting two Python processes
_Offsets = NDArray[np.uint32]
_Part = list[tuple[bytes, _Offsets]]


@dataclass(frozen=True)
class _Column:
    """The numbers of one column as one text with a comma after each, and where each begins."""

    text: memoryview
    begins: _Offsets

    def between(self, first: int, last: int) -> memoryview:
        """Return the numbers of [first, last) as they stand in a JSON list."""
        return self.text[int(self.begins[first]) : int(self.begins[last]) - 1]


@dataclass(frozen=True)
class PreparedMinutes:
    """The closed minutes of one instrument as text: `[first, last)`, in minutes since the epoch."""

    first: int
    last: int
    columns: Mapping[str, _Column]

    def result(self, start_ms: int, end_ms: int, now_ms: int, limit: int) -> tuple[bytes, int] | None:
        """Return the `result` of a chart request as JSON and its rows, as `View.reply` and `chart` make it.

        Both ends (ms) are inclusive; of more than `limit` rows, the newest are returned. None if the window
        ends outside of the prepared minutes or in the forming one, or has no row.
        """
        end = min(end_ms, now_ms) // MINUTE_MS + 1
        first = max(start_ms // MINUTE_MS, self.first, end - limit)
        if not first < end <= min(self.last, now_ms // MINUTE_MS):
            return None
        parts: list[bytes | memoryview] = []
        for name in chart_order(end - first):
            parts += [b',"', name.encode(), b'":']
            if name == "status":
                parts.append(b'"ok"')
                continue
            parts += [b"[", self.columns[name].between(first - self.first, end - self.first), b"]"]
        parts[0] = b'{"'
        return b"".join([*parts, b"}"]), end - first


def prepare(market: Market, instruments: Iterable[str], now_ms: int) -> dict[str, PreparedMinutes]:
    """Return the minutes of instruments from listing to the last one closed at `now_ms`, rendered.

    About 160 bytes of memory a minute. Long histories are rendered by as many processes as there are cores.
    """
    last = now_ms // MINUTE_MS
    spans = [(name, market.listings[name].created_ms // MINUTE_MS) for name in instruments]
    tasks = [
        (name, begin, min(begin + PART_MINUTES, last))
        for name, first in spans
        for begin in range(first, last, PART_MINUTES)
    ]
    parts: dict[str, list[_Part]] = {name: [] for name, first in spans if first < last}
    for (name, _, _), part in zip(tasks, _rendered(market, tasks), strict=True):
        parts[name].append(part)
    firsts = dict(spans)
    return {name: _joined(firsts[name], last, parts.pop(name)) for name in list(parts)}


def _rendered(market: Market, tasks: Sequence[tuple[str, int, int]]) -> Iterator[_Part]:
    cores = len(os.sched_getaffinity(0))
    if cores == 1 or sum(end - begin for _, begin, end in tasks) < _ALONE:
        yield from map(_render, repeat(market), tasks)
        return
    # spawned, because a fork of a process with threads can deadlock
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_render, repeat(market), tasks)


def _render(market: Market, task: tuple[str, int, int]) -> _Part:
    """Return the text of each column and where each number begins in it, for minutes [begin, end)."""
    name, begin, end = task
    columns = chart(market.minutes(name, begin * MINUTE_MS, (end - 1) * MINUTE_MS), name)
    part = []
    for column in COLUMNS:
        text = orjson.dumps(columns.pop(column))[1:-1] + b","
        commas = np.flatnonzero(np.frombuffer(text, np.uint8) == ord(","))
        part.append((text, np.concatenate(([0], commas[:-1] + 1)).astype(np.uint32)))
    return part


def _joined(first: int, last: int, parts: list[_Part]) -> PreparedMinutes:
    columns = {}
    for number, name in enumerate(COLUMNS):
        texts = [part[number][0] for part in parts]
        starts = np.cumsum([0, *(len(text) for text in texts)]).astype(np.uint32)
        begins = [part[number][1] + start for part, start in zip(parts, starts[:-1], strict=True)]
        columns[name] = _Column(memoryview(b"".join(texts)), np.concatenate([*begins, starts[-1:]]))
    return PreparedMinutes(first, last, columns)

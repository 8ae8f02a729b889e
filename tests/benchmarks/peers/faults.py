"""Ten faults that each tool goes through, and how its table is judged afterwards.

Each has a week of BTC and ETH: a first load, which the fault may hit, and later a last run that nothing
disturbs. After a kill the last run is the same command again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from extract.simulator.listings import extra
from tests.benchmarks.spans import BTC, ETH, FULL_END
from tests.benchmarks.stage import EXTRA_INSTRUMENTS
from tests.support.truth import Row

MINUTE_MS = 60_000
HOUR_MS, DAY_MS = 60 * MINUTE_MS, 1440 * MINUTE_MS
NOW_MS = FULL_END * MINUTE_MS
HISTORY_MS = 7 * DAY_MS
TWO = f"{BTC},{ETH}"
MIDDLE_MS = NOW_MS - 3 * DAY_MS
"""In the second page of 5,000 candles."""

_THERE = {"instrument": BTC, "start": MIDDLE_MS, "end": MIDDLE_MS + MINUTE_MS}
_NEW = max(
    (one for one in extra(EXTRA_INSTRUMENTS) if one.created_ms < NOW_MS), key=lambda one: one.created_ms
)


@dataclass(frozen=True)
class Trial:
    """What happens to a tool.

    Attributes:
        name: the line of the table.
        first: faults of the simulator while the first load runs.
        later: those afterwards, which are part of the truth.
        killed: whether the first load is killed once half of its pages are answered.
        now_ms: the exchange's clock at the first load.
        after_ms: how much later the last run begins.
        names: the instruments of the last run.
        forming: whether a candle of a minute that is not over counts, if the table has it.
    """

    name: str
    first: list[dict[str, Any]] = field(default_factory=list)
    later: list[dict[str, Any]] = field(default_factory=list)
    killed: bool = False
    now_ms: int = NOW_MS
    after_ms: int = 10 * MINUTE_MS
    names: str = TWO
    forming: bool = False


def revised(at_ms: int) -> dict[str, Any]:
    """Return the fault that gives a candle another volume."""
    return {"kind": "bad_candle", "instrument": BTC, "at": at_ms, "values": {"volume": 7.5}}


TRIALS = (
    Trial("`kill -9` in the middle of the first load", killed=True),
    Trial(
        "for each page: HTTP 429, then 500",
        first=[
            {"kind": "error", "status": 429, "per_window": True, "times": 1},
            {"kind": "http", "status": 500, "per_window": True, "skip": 1, "times": 1},
        ],
    ),
    Trial("a reply that takes an hour", first=[{"kind": "hang", "times": 1, **_THERE}]),
    Trial("a page cut to its newest 1,000 candles", first=[{"kind": "max_rows", "times": 1, **_THERE}]),
    Trial("`no_data` for a page that has candles", first=[{"kind": "empty", "times": 1, **_THERE}]),
    Trial("a null among the prices", first=[{"kind": "value", "row": 100, "times": 1, **_THERE}]),
    Trial("loaded in the middle of a minute", now_ms=NOW_MS + MINUTE_MS // 2, forming=True),
    Trial(
        "30 missing candles that Deribit has a day later",
        first=[{"kind": "outage", **_THERE, "end": MIDDLE_MS + 30 * MINUTE_MS}],
        after_ms=DAY_MS + HOUR_MS,
    ),
    Trial(
        "candles of 5 minutes and of 3 hours ago revised",
        later=[revised(NOW_MS - 5 * MINUTE_MS), revised(NOW_MS - 3 * HOUR_MS)],
        after_ms=2 * MINUTE_MS,
    ),
    Trial(
        "a third instrument is listed and added",
        now_ms=_NEW.created_ms // HOUR_MS * HOUR_MS - HOUR_MS,
        after_ms=DAY_MS,
        names=f"{TWO},{_NEW.name}",
    ),
)


@dataclass(frozen=True)
class Verdict:
    """Candles that the table lacks, has with other values, and has although they do not exist."""

    lost: int
    wrong: int
    invented: int

    def __str__(self) -> str:
        parts = [f"{number:,} {what}" for what, number in vars(self).items() if number]
        return ", ".join(parts) or "0"


def judge(held: Iterable[Row], true: Iterable[Row]) -> Verdict:
    """Compare rows of a table with the truth: time and instrument first, then the values."""
    ours, theirs = list(held), {row[:2]: row for row in true}
    keys = {row[:2] for row in ours}
    return Verdict(
        lost=len(theirs.keys() - keys),
        wrong=sum(row[:2] in theirs and row != theirs[row[:2]] for row in ours),
        invented=len(keys - theirs.keys()) + len(ours) - len(keys),
    )

"""What must hold, as small pure functions: each returns what is wrong in words, nothing when all is well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from extract.core.ranges import TimeRange

Key = tuple[str, int]
Values = tuple[Decimal, ...]
Candles = Mapping[Key, Values]
Others = Mapping[tuple[str, str, int], tuple[float | None, ...]]
"""Rows of funding and settlements by endpoint, instrument and time, UTC ms."""
SHOWN = 3


@dataclass(frozen=True)
class Difference:
    """Where the table is not the truth: keys (instrument, UTC ms) that are missing, too many, or wrong."""

    missing: frozenset[Key]
    invented: frozenset[Key]
    wrong: frozenset[Key]

    @property
    def none(self) -> bool:
        return not (self.missing or self.invented or self.wrong)


def compare(held: Candles, true: Candles) -> Difference:
    """Return where the table is not the truth."""
    return Difference(
        frozenset(true.keys() - held.keys()),
        frozenset(held.keys() - true.keys()),
        frozenset(key for key in true.keys() & held.keys() if held[key] != true[key]),
    )


def wrong_cursor(
    instrument: str,
    last_ms: int,
    started_ms: int,
    true_ticks: Iterable[int],
    landed: set[int],
    owed: Sequence[TimeRange],
    answered: Sequence[TimeRange],
) -> list[str]:
    """A cursor is never ahead of data: each candle from the first ask to it is landed, owed, or denied twice.

    Holds at any time, also right after a kill.

    Args:
        instrument: whose.
        last_ms: the cursor.
        started_ms: where the command began that made it.
        true_ticks: the exchange's candles.
        landed: ticks in complete loads.
        owed: what the state says was never answered.
        answered: what each answered request of complete loads spoke for.
    """
    skipped = [
        tick
        for tick in true_ticks
        if started_ms <= tick <= last_ms
        and tick not in landed
        and not any(start <= tick < end for start, end in owed)
        and sum(start <= tick < end for start, end in answered) < 2
    ]
    beyond = [] if not landed or last_ms <= max(landed) else [last_ms]
    return [
        *(f"cursor of {instrument} at {last_ms} has passed {tick}, not landed" for tick in skipped[:SHOWN]),
        *(f"cursor of {instrument} at {at} is beyond its newest raw candle" for at in beyond),
    ]


def unexcused(
    difference: Difference,
    started: Mapping[str, int],
    revised: set[Key],
    gaps: Mapping[str, Sequence[TimeRange]],
    firsts: Mapping[str, int],
    deceived: bool,
) -> list[str]:
    """After undisturbed commands: nothing invented, and whatever differs has a name that people can look up.

    Args:
        difference: table against truth.
        started: per instrument from where it was ever asked for.
        revised: candles that the exchange changed, whose old values may stand until they are asked again.
        gaps: per instrument, what quality.ohlcv_gaps lists.
        firsts: per instrument the first candle of the table; before it nothing is a gap.
        deceived: the exchange has denied candles, or sent odd ones; otherwise none may be missing.
    """
    silent = [
        (name, tick)
        for name, tick in sorted(difference.missing)
        if tick >= started.get(name, 0)
        and not (deceived and tick < firsts.get(name, 1 << 60))
        and not (deceived and any(start < tick < end for start, end in gaps.get(name, ())))
    ]
    return [
        *(f"{key} is in the table and not in the truth" for key in sorted(difference.invented)[:SHOWN]),
        *(f"{key} has other values than the truth" for key in sorted(difference.wrong - revised)[:SHOWN]),
        *(f"{key} is missing and in no gap" for key in silent[:SHOWN]),
    ]


def unexcused_others(held: Others, true: Others, started: Mapping[str, int], deceived: bool) -> list[str]:
    """After undisturbed commands: rows of funding and settlements are true, from the first ask on.

    Args:
        held: the tables.
        true: what the exchange says.
        started: per instrument from where it was ever asked for; none: from anywhere.
        deceived: the exchange has denied rows, or sent odd ones, of which a value that may be null is kept.
            Otherwise none may be missing or differ.
    """
    missing = [key for key in sorted(true.keys() - held.keys()) if key[2] >= started.get(key[1], 0)]
    differing = [key for key in sorted(true.keys() & held.keys()) if held[key] != true[key]]
    return [
        *(f"{key} is in its table and not in the truth" for key in sorted(held.keys() - true.keys())[:SHOWN]),
        *(f"{key} is missing" for key in missing[:SHOWN] if not deceived),
        *(f"{key} has other values than the truth" for key in differing[:SHOWN] if not deceived),
    ]


def remaining(difference: Difference) -> list[str]:
    """In the end: nothing is missing, invented or wrong, with no excuse."""
    return [
        f"{len(keys)} candles {what}, the first is {min(keys)}"
        for what, keys in (
            ("missing", difference.missing),
            ("invented", difference.invented),
            ("wrong", difference.wrong),
        )
        if keys
    ]


def buckets_too(ticks: set[int]) -> set[int]:
    """Return ticks and the buckets that they lie in: one off the grid is a rejected candle of its bucket."""
    return ticks | {tick // 60_000 * 60_000 for tick in ticks}

"""Which gaps a repair asks for, and which it leaves alone for a day."""

from __future__ import annotations

from extract.check.gaps import Gap, split_due
from extract.core.resolution import DAY_MS, MINUTE_MS, RESOLUTIONS
from extract.load import endpoint
from extract.load.plan import Series, plan_repair

ONE = RESOLUTIONS["1"]
MINUTES = endpoint.candles(ONE)
AT = 1_704_067_200_000
NOW = AT + 100 * DAY_MS


def gap(reason: str, fetched_ms: int | None = None) -> Gap:
    return Gap(MINUTES, "X", AT, AT + 13 * MINUTE_MS, reason, fetched_ms)


def test_what_the_source_lacks_is_asked_for_once_a_day():
    for reason in ("source", "rejected"):
        just, long_ago = gap(reason, NOW - DAY_MS + 1), gap(reason, NOW - DAY_MS)
        assert split_due([just, long_ago], NOW) == ([long_ago], [just])
        assert just.resting_until_ms == NOW + 1


def test_what_no_repair_asked_for_is_due_whatever_the_reason():
    gaps = [gap("source"), gap("unfetched"), gap("rejected")]
    assert split_due(gaps, NOW) == (gaps, [])


def test_an_unfetched_gap_is_due_every_time():
    gaps = [gap("unfetched", NOW - 1)]
    assert split_due(gaps, NOW) == (gaps, [])


def test_a_gap_that_waits_for_a_build_is_not_asked_for_again():
    waiting = Gap(MINUTES, "X", AT, AT + 13 * MINUTE_MS, "unfetched", NOW - 1, waiting=True)
    assert split_due([waiting], NOW) == ([], [waiting])


def test_a_gap_knows_its_missing_candles():
    assert gap("source").missing == 12
    assert gap("source").time_range == (AT + MINUTE_MS, AT + 13 * MINUTE_MS)
    assert str(gap("source")) == "X between 2024-01-01 00:00:00Z and 2024-01-01 00:13:00Z"


def test_each_gap_has_a_window_that_begins_where_it_does_even_beside_another():
    near = Gap(MINUTES, "X", AT + 13 * MINUTE_MS, AT + 15 * MINUTE_MS)
    windows = plan_repair(Series("X", MINUTES, AT, NOW), [near.time_range, gap("unfetched").time_range])
    assert [(window.start_ms, window.end_ms) for window in windows] == [
        (AT, AT + 14 * MINUTE_MS),
        (AT + 13 * MINUTE_MS, AT + 16 * MINUTE_MS),
    ]
    assert not any(window.forward for window in windows)

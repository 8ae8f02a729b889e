"""Which of Deribit's longer candles are asked for."""

from __future__ import annotations

import pytest

from extract.check.reconciliation import Bucket, count_buckets, parse_coarser, to_fetch
from extract.core.resolution import DAY_MS, HOUR_MS, MINUTE_MS, RESOLUTIONS
from extract.errors import UsageError
from extract.load.endpoint import candles
from extract.load.plan import Cursor, Series, plan_history

ONE, HOUR, DAY = RESOLUTIONS["1"], RESOLUTIONS["60"], RESOLUTIONS["1D"]
AT = 1_704_067_200_000  # a midnight
ALWAYS = (0, 2**53)


@pytest.mark.parametrize("name", ["3", "5", "10", "15", "30", "60", "120", "720", "1D"])
def test_minutes_add_up_to_what_opens_at_known_times(name):
    assert parse_coarser(name.lower(), ONE) == RESOLUTIONS[name]


@pytest.mark.parametrize(
    ("name", "base"), [("1", "1"), ("180", "1"), ("360", "1"), ("30", "60"), ("15", "10"), ("720", "360")]
)
def test_what_does_not_add_up_is_refused(name, base):
    with pytest.raises(UsageError, match="expected --resolution"):
        parse_coarser(name, RESOLUTIONS[base])


def test_the_candle_that_holds_the_first_minute_is_asked_for():
    asked = to_fetch({"X": (AT + 9 * HOUR_MS, AT + 5 * DAY_MS)}, ALWAYS, DAY)
    assert asked == {"X": (AT + 8 * HOUR_MS, AT + 5 * DAY_MS)}


def test_a_range_is_cut_to_what_the_table_has():
    histories = {"X": (AT, AT + DAY_MS), "Y": (AT + 5 * DAY_MS, AT + 9 * DAY_MS)}
    assert to_fetch(histories, (AT + HOUR_MS, AT + 2 * DAY_MS), HOUR) == {"X": (AT + HOUR_MS, AT + DAY_MS)}
    with pytest.raises(UsageError, match="no candles in this time range"):
        to_fetch(histories, (AT - DAY_MS, AT), HOUR)


def test_history_is_planned_beside_the_cursor_with_what_is_owed():
    cursor = Cursor(AT + 100 * DAY_MS, ((AT - 9 * HOUR_MS, AT - 8 * HOUR_MS),))
    series = Series("X", candles(HOUR), AT, AT + DAY_MS + 1, cursor)
    windows = plan_history(series, (AT + MINUTE_MS, AT + 3 * DAY_MS))
    assert [(window.start_ms, window.end_ms) for window in windows] == [
        (AT - 9 * HOUR_MS, AT - 8 * HOUR_MS),
        (AT + HOUR_MS, AT + DAY_MS),
    ]
    assert not any(window.forward for window in windows)


def test_a_bucket_that_lacks_candles_is_counted_apart():
    buckets = [
        Bucket("X", AT, "identical", None, 60, 60),
        Bucket("X", AT, "identical", None, 59, 60),
        Bucket("X", AT, "different", "close", 59, 60),
        Bucket("X", AT, "different", "close", 60, 60),
        Bucket("X", AT, "missing_in_minutes", None, 0, 60),
    ]
    assert count_buckets(buckets) == (
        "2 identical, 1 different, 1 not whole, 1 missing in minutes, 0 missing at deribit"
    )

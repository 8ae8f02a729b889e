from __future__ import annotations

import numpy as np
import pytest

from extract.core.resolution import DAY_MS, HOUR_MS, RESOLUTIONS, parse_resolution
from extract.core.times import parse_range, parse_time
from extract.errors import UsageError

MIDNIGHT = 1_704_067_200_000  # 2024-01-01


def test_days_open_at_the_settlement_and_not_at_midnight():
    day = RESOLUTIONS["1D"]
    assert day.count_off_grid(np.array([MIDNIGHT + 8 * HOUR_MS, MIDNIGHT + 32 * HOUR_MS])) == 0
    assert day.count_off_grid(np.array([MIDNIGHT, MIDNIGHT + 8 * HOUR_MS])) == 1
    assert day.closed_end(MIDNIGHT + 7 * HOUR_MS) == MIDNIGHT - 16 * HOUR_MS


def test_half_days_open_at_8_and_20():
    half = RESOLUTIONS["720"]
    assert half.floor(MIDNIGHT + 21 * HOUR_MS) == MIDNIGHT + 20 * HOUR_MS
    assert half.floor(MIDNIGHT + 19 * HOUR_MS) == MIDNIGHT + 8 * HOUR_MS


@pytest.mark.parametrize("name", RESOLUTIONS)
def test_a_bucket_below_the_closed_end_is_over_whatever_its_anchor(name):
    resolution = RESOLUTIONS[name]
    for now in (MIDNIGHT, MIDNIGHT + 1, MIDNIGHT + 5 * HOUR_MS + 59_999):
        end = resolution.closed_end(now)
        for anchor in resolution.anchors_ms:
            opens = range(MIDNIGHT - 2 * DAY_MS + anchor, MIDNIGHT + DAY_MS, resolution.step_ms)
            newest = max(tick for tick in opens if tick < end)
            assert newest + resolution.step_ms <= now
            assert newest + 2 * resolution.step_ms > now


def test_an_unsupported_resolution_names_those_there_are():
    with pytest.raises(UsageError, match=r"expected a resolution of 1, 3, .* 1D, got '7'"):
        parse_resolution("7")


def test_times_without_a_zone_are_utc():
    assert parse_time("2024-01-01", "--start") == MIDNIGHT
    assert parse_time("2024-01-01T08:00", "--start") == MIDNIGHT + 8 * HOUR_MS
    assert parse_time("2024-01-01T08:00:00+08:00", "--start") == MIDNIGHT


@pytest.mark.parametrize(
    "text", ["2024-01-01T00:00Z", "20240101", "20240101T0000", "2024-01-01 00:00", "1704067200000"]
)
def test_every_way_to_write_a_time_means_the_same(text):
    assert parse_time(text, "--start") == MIDNIGHT


@pytest.mark.parametrize(
    "text",
    [
        *("yesterday", "now", "2024-13-01", "01/02/2024", "", " ", "2024", "2024-01", "2024-W01", "2024-001"),
        *(
            "1704067200",
            "17040672000001",
            "1704067200000.5",
            "-1704067200000",
            "202401010000",
            "2024-01-01x08:00",
        ),
        *("٢٠٢٤-٠١-٠١", "2024-01-01T25:00", "2024-01-01T08:00 UTC"),
    ],
)
def test_what_is_no_time_is_named(text):
    with pytest.raises(UsageError, match="expected a date, an ISO time or milliseconds in --end"):
        parse_time(text, "--end")


@pytest.mark.parametrize(
    "text",
    [
        "1711-09-12",
        "2015-12-31T23:59Z",
        "2100-01-01",
        "9999-12-31",
        "0001-01-01T00:00+23:59",
        "4102444800000",
    ],
)
def test_a_time_of_another_century_is_refused(text):
    with pytest.raises(UsageError, match="expected a time from 2016 to 2100 in --start, got '"):
        parse_time(text, "--start")


def test_a_variable_that_is_not_set_is_not_taken_for_no_flag():
    with pytest.raises(UsageError, match="expected a date, an ISO time or milliseconds in --start"):
        parse_range("", "2024-01-01")


def test_an_end_before_the_start_is_refused():
    with pytest.raises(UsageError, match="expected --end after --start"):
        parse_range("2024-01-02", "2024-01-01")

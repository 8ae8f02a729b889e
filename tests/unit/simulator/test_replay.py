"""Replaying candles from a file."""

from __future__ import annotations

import pytest

from extract.errors import UsageError
from extract.simulator.replay import Replay

HEADER = "tick_ms,open,high,low,close,volume_base,cost_usd\n"
T = 1_700_000_040_000  # a full minute
ROWS = [f"{T + n * 60_000},1.5,3,1,2,{n}.25,{n}0\n" for n in (0, 1, 2, 5, 6)]


@pytest.fixture
def file(tmp_path):
    def write(text: str):
        path = tmp_path / "candles.csv"
        path.write_text(text)
        return path

    return write


def test_exactly_the_candles_of_the_file_are_served(file):
    replay = Replay(file(HEADER + "".join(ROWS)), "ETH-PERPETUAL")
    assert replay.resolution == "1"
    assert list(replay.listings) == ["ETH-PERPETUAL"]
    assert replay.listings["ETH-PERPETUAL"].created_ms == T
    candles = replay.candles("ETH-PERPETUAL", "1", 0, 2 * T)
    assert candles.ticks.tolist() == [T + n * 60_000 for n in (0, 1, 2, 5, 6)]
    assert candles.volume.tolist() == [0.25, 1.25, 2.25, 5.25, 6.25]
    assert candles.cost.tolist() == [0, 10, 20, 50, 60]


def test_other_resolutions_and_times_outside_have_no_data(file):
    replay = Replay(file(HEADER + "".join(ROWS)))
    assert not len(replay.candles("BTC-PERPETUAL", "5", 0, 2 * T))
    assert not len(replay.candles("BTC-PERPETUAL", "1", 0, T - 1))
    assert not len(replay.candles("BTC-PERPETUAL", "1", T + 7 * 60_000, 2 * T))
    assert not len(replay.candles("BTC-PERPETUAL", "1", T + 3 * 60_000, T + 4 * 60_000))


def test_the_candle_at_the_clock_is_partial(file):
    replay = Replay(file(HEADER + "".join(ROWS)))
    candles = replay.candles("BTC-PERPETUAL", "1", 0, 2 * T, now_ms=T + 90_000)
    assert candles.ticks.tolist() == [T, T + 60_000]
    assert candles.volume.tolist() == [0.25, 0.625]


def test_without_a_cost_column_cost_is_volume_times_close(file):
    text = HEADER.replace(",cost_usd", "") + "".join(row.rpartition(",")[0] + "\n" for row in ROWS)
    assert Replay(file(text)).candles("BTC-PERPETUAL", "1", T, T).cost.tolist() == [0.5]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER.replace("open,", "") + ROWS[0].replace("1.5,", "", 1), "got no open"),
        (HEADER + ROWS[0], "at least two candles"),
        (HEADER + ROWS[1] + ROWS[0], "ascending"),
        (HEADER + ROWS[0] + ROWS[1].replace("1.5", "x"), "expected a CSV of candles"),
        (HEADER + f"{T},1,1,1,1,1,1\n{T + 7},1,1,1,1,1,1\n", "steps of 7 ms"),
        (HEADER + f"{T + 1},1,1,1,1,1,1\n{T + 60_001},1,1,1,1,1,1\n", "steps of 60000 ms"),
        ("", "expected a CSV of candles"),
    ],
)
def test_a_file_that_is_not_like_that_is_refused_in_one_line(file, text, said):
    with pytest.raises(UsageError, match=said) as caught:
        Replay(file(text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.csv"):
        Replay(tmp_path / "nowhere.csv")

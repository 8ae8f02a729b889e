"""What is owed and where cursors stand, from dlt's state."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from extract.core.resolution import MINUTE_MS, RESOLUTIONS
from extract.deribit.errors import TransientError
from extract.deribit.instruments import Instrument
from extract.errors import PerpsError, UsageError
from extract.load.endpoint import candles
from extract.load.fetch import WindowResult
from extract.load.plan import Cursor, Window
from extract.load.selection import check_origin, choose
from extract.load.state import EPOCH, loaded_instruments, owed_after, read_cursor

MINUTES, DAYS = candles(RESOLUTIONS["1"]), candles(RESOLUTIONS["1D"])


def window(start: int, end: int) -> Window:
    return Window("X", start * MINUTE_MS, end * MINUTE_MS, MINUTES)


def failed(start: int, end: int, requested: bool = True) -> WindowResult:
    return WindowResult(window(start, end), error=TransientError("no"), requested=requested)


def test_a_failed_window_is_owed_until_it_is_answered():
    owed = owed_after({}, [WindowResult(window(0, 5)), failed(5, 10), failed(10, 15)])
    assert owed == {"candles X 1": [[5 * MINUTE_MS, 15 * MINUTE_MS]]}
    owed = owed_after(owed, [WindowResult(window(7, 20))])
    assert owed == {"candles X 1": [[5 * MINUTE_MS, 7 * MINUTE_MS]]}
    assert owed_after(owed, [WindowResult(window(0, 7))]) == {}


def test_a_window_that_was_given_up_unasked_is_owed_too():
    assert owed_after({}, [failed(0, 5, requested=False)]) == {"candles X 1": [[0, 5 * MINUTE_MS]]}


def test_what_one_instrument_owes_is_not_paid_by_another():
    other = Window("Y", 0, 10 * MINUTE_MS, MINUTES)
    assert owed_after({"candles X 1": [[0, 5]]}, [WindowResult(other)]) == {"candles X 1": [[0, 5]]}


def state(last: datetime | None) -> dict:
    resources = {"candles X 1": {"incremental": {"timestamp": {"last_value": last}}}, "fetches": {}}
    return {
        "sources": {
            "deribit": {"resources": resources, "owed": {"candles Y 1": [[1, 2]], "candles Z 1D": [[1, 2]]}}
        }
    }


def test_cursors_are_kept_per_instrument_and_resolution():
    last = datetime(2024, 1, 1, tzinfo=UTC)
    assert read_cursor(state(last), "X", MINUTES) == Cursor(1_704_067_200_000)
    assert read_cursor(state(last), "X", DAYS) == Cursor()
    assert read_cursor(state(last), "Y", MINUTES) == Cursor(None, ((1, 2),))
    assert read_cursor({}, "X", MINUTES) == Cursor()


def test_a_cursor_that_never_moved_is_none():
    assert read_cursor(state(EPOCH), "X", MINUTES) == Cursor()


def test_instruments_with_a_cursor_or_a_debt_are_loaded():
    assert loaded_instruments(state(EPOCH), MINUTES) == ["X", "Y"]
    assert loaded_instruments(state(EPOCH), DAYS) == ["Z"]


LISTED = [Instrument("A", 0), Instrument("B", 0), Instrument("C", 0)]


def test_all_means_every_listed_perpetual_and_those_loaded_before():
    chosen, absent = choose(["all"], LISTED, ["GONE"])
    assert [found.name for found in chosen] == ["A", "B", "C"]
    assert absent == ["GONE"]


def test_no_names_means_those_loaded_before():
    chosen, absent = choose([], LISTED, ["B", "GONE"])
    assert ([found.name for found in chosen], absent) == (["B"], ["GONE"])


def test_a_perpetual_that_is_not_listed_may_be_named_but_not_something_else():
    assert choose(["A", "OLD-PERPETUAL"], LISTED, []) == ([LISTED[0]], ["OLD-PERPETUAL"])
    with pytest.raises(UsageError, match="list BTC-28JUN19"):
        choose(["A", "BTC-28JUN19"], LISTED, [])


def test_an_unknown_instrument_is_named():
    with pytest.raises(UsageError, match="list BTC-PERP; see: perps instruments"):
        choose(["A", "BTC-PERP"], LISTED, [])


def test_nothing_loaded_and_nothing_named_is_refused():
    with pytest.raises(UsageError, match="name instruments in --instruments"):
        choose([], LISTED, [])


def test_synthetic_candles_never_join_market_candles():
    check_origin(None, "live")
    check_origin("live", "live")
    with pytest.raises(PerpsError, match=r"holds live candles.*simulator"):
        check_origin("live", "simulator")

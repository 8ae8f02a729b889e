"""Holes are asked for again in the same run: what that brings is loaded, what it does not bring is proven."""

from __future__ import annotations

import pytest

from extract.database.database import Database
from extract.load.result import IncompleteError
from tests.support.exchange import BTC, set_faults
from tests.support.loading import MINUTES, NOW, days, minutes, ticks
from tests.support.truth import rows

EXCHANGE = {"clock": NOW}
EMPTY = {"kind": "empty", "times": 1}
OUTAGE = {"kind": "outage", "start": "2024-01-30T06:00:00Z", "end": "2024-01-30T06:12:00Z"}


def evidence(database: Database, at: str) -> list[tuple]:
    """Return window start, window end and rows of every fetch that speaks for a minute."""
    return rows(
        database,
        "select window_start::text, window_end::text, rows from deribit_raw.fetches"
        " where window_start <= %s and window_end > %s order by 1",
        at,
        at,
    )


def test_a_reply_that_is_wrongly_empty_leaves_no_hole(load, database, exchange):
    set_faults(exchange, EMPTY)
    result = load().backfill([BTC], [MINUTES], days(28, 30))
    assert ticks(database) == minutes(28, 30)
    assert (result.candles, result.requests) == ({BTC: 2 * 1440}, 3)


def test_an_update_whose_reply_is_wrongly_empty_moves_the_cursor_all_the_same(load, database, exchange):
    load().backfill([BTC], [MINUTES], days(28, 29))
    set_faults(exchange, EMPTY)
    load().update([], [MINUTES])
    assert ticks(database) == minutes(28, 30)
    assert load(lookback=10).update([], [MINUTES]).candles == {BTC: 0}
    assert evidence(database, "2024-01-30T23:59:00Z")[-1][2] == 10


def test_an_outage_is_asked_for_twice_in_one_run(load, database, exchange):
    set_faults(exchange, OUTAGE)
    assert load().backfill([BTC], [MINUTES], days(28, 30)).candles == {BTC: 2 * 1440 - 12}
    assert evidence(database, "2024-01-30T06:05:00Z") == [
        ("2024-01-29 00:00:00+00", "2024-01-31 00:00:00+00", 2 * 1440 - 12),
        ("2024-01-30 05:57:00+00", "2024-01-30 06:15:00+00", 6),
    ]
    assert len(evidence(database, "2024-01-30T07:00:00Z")) == 1


def test_a_second_ask_that_fails_leaves_the_window_owed(load, database, exchange):
    broken = {"kind": "http", "status": 502, "end": "2024-01-30T08:00:00Z", "start": "2024-01-30T05:00:00Z"}
    set_faults(exchange, OUTAGE, broken | {"skip": 1})
    with pytest.raises(IncompleteError, match="http 502"):
        load().backfill([BTC], [MINUTES], days(28, 30))
    set_faults(exchange)
    load().update([], [MINUTES])
    assert ticks(database) == minutes(28, 30)

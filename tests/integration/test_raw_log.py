"""Raw is a log of changes: what was landed and is told again lands nothing, what differs lands once."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import psycopg2
import pytest

from extract.core.resolution import DAY_MS, MINUTE_MS
from extract.database.database import Database
from extract.load.compare import read_newest
from extract.simulator import RunningSimulator
from tests.support.exchange import BTC, ETH, charts, set_clock, set_faults
from tests.support.loading import JAN, MINUTES, NOW, days, minutes, ticks
from tests.support.truth import control, execute, rows

EXCHANGE = {"clock": NOW}
SINCE = "2024-01-31T00:00:40Z"
FETCHED = "select rows, new_rows, changed_rows from deribit_raw.fetches order by _dlt_load_id, window_start"
LOADED = "select count(*) from deribit_raw.candles group by _dlt_load_id order by _dlt_load_id"
UNTOLD = """
select count(*) from deribit_raw.candles as candles
where not exists (
    select from deribit_raw.fetches as fetches
    where fetches._dlt_load_id = candles._dlt_load_id and fetches.instrument = candles.instrument
        and fetches.resolution = candles.resolution and new_rows + changed_rows > 0
        and candles."timestamp" >= window_start and candles."timestamp" < window_end
)
"""


@pytest.fixture(autouse=True)
def told_once(database: Database) -> Iterator[None]:
    """Whatever a test has landed is told of by a fetch of its load, and is in that load once."""
    yield
    assert rows(database, UNTOLD) == [(0,)], "a landed candle that no fetch of its load tells of"
    twice = 'select count(*) - count(distinct (_dlt_load_id, instrument, resolution, "timestamp"))'
    assert rows(database, f"{twice} from deribit_raw.candles") == [(0,)], "two versions in one load"


def revise(exchange: RunningSimulator, at_ms: int, **values: float | str | None) -> None:
    """Have the exchange tell a candle differently from SINCE on, and let it be that time."""
    revision = {"kind": "revision", "instrument": BTC, "at": at_ms, "values": values, "since": SINCE}
    set_faults(exchange, revision)
    set_clock(exchange, SINCE)


def test_an_update_lands_the_new_minute_and_not_the_look_back(load, database, exchange):
    load().backfill([BTC, ETH], [MINUTES], days(29, 60))
    for _ in range(3):
        control(exchange.base_url, "clock", {"advance_ms": MINUTE_MS})
        load(lookback=10).update([], [MINUTES])
    assert rows(database, LOADED) == [(2880,), (2,), (2,), (2,)]
    assert rows(database, FETCHED)[2:] == [(11, 1, 0)] * 6


def test_an_update_with_nothing_new_lands_evidence_alone(load, database, exchange):
    load().backfill([BTC], [MINUTES], days(29, 60))
    result = load(lookback=10).update([], [MINUTES])
    assert (result.candles, result.requests) == ({BTC: 0}, 1)
    assert rows(database, LOADED) == [(1440,)]
    assert rows(database, FETCHED) == [(1440, 1440, 0), (10, 0, 0)]


def test_a_day_that_is_sent_again_lands_nothing(load, database):
    load().backfill([BTC], [MINUTES], days(27, 30))
    load().backfill([BTC], [MINUTES], days(28, 29))
    assert rows(database, LOADED) == [(3 * 1440,)]
    assert rows(database, FETCHED)[1:] == [(1440, 0, 0)]


def test_a_revised_candle_lands_once_more_and_no_other(load, database, exchange):
    load().backfill([BTC], [MINUTES], days(29, 30))
    revise(exchange, JAN + 29 * DAY_MS + 5 * MINUTE_MS, volume=12.5)
    load().backfill([BTC], [MINUTES], days(29, 30))
    load().backfill([BTC], [MINUTES], days(29, 30))
    assert rows(database, LOADED) == [(1440,), (1,)]
    assert rows(database, FETCHED) == [(1440, 1440, 0), (1440, 0, 1), (1440, 0, 0)]
    newest = "select volume from deribit_raw.candles order by _dlt_load_id desc limit 1"
    assert rows(database, newest) == [(12.5,)]


def test_a_value_that_comes_back_is_a_change_against_the_newest_version(load, database, exchange):
    load().backfill([BTC], [MINUTES], days(29, 30))
    revise(exchange, JAN + 29 * DAY_MS, close=1.0)
    load().backfill([BTC], [MINUTES], days(29, 30))
    set_faults(exchange)
    load().backfill([BTC], [MINUTES], days(29, 30))
    assert rows(database, LOADED) == [(1440,), (1,), (1,)]


@pytest.mark.parametrize("value", [None, "NaN"])
def test_what_is_no_number_equals_itself(load, database, exchange, value):
    odd = {"kind": "value", "column": "volume", "row": 700, "value": value}
    set_faults(exchange, odd)
    load().backfill([BTC], [MINUTES], days(29, 30))
    load().backfill([BTC], [MINUTES], days(29, 30))
    set_faults(exchange)
    load().backfill([BTC], [MINUTES], days(29, 30))
    assert rows(database, LOADED) == [(1440,), (1,)]


def test_windows_that_overlap_in_one_load_bring_each_candle_once(load, database, exchange):
    load().backfill([BTC], [MINUTES], days(29, 29.5))
    day = JAN + 29 * DAY_MS
    holes = [
        (day + start * MINUTE_MS, day + end * MINUTE_MS) for start, end in ((800, 810), (811, 815), (1, 2))
    ]
    assert load().repair({MINUTES: {BTC: holes}}).candles == {BTC: 17}  # with a bucket on both sides of each
    assert ticks(database) == [*minutes(29, 29.5), *range(29 * 1440 + 799, 29 * 1440 + 816)]
    found = rows(database, FETCHED)[1:]
    assert [sent for sent, _, _ in found] == [3, 12, 6]
    assert sum(new for _, new, _ in found) == 17


def test_history_that_was_landed_before_the_cursor_got_there_is_not_landed_again(load, database, exchange):
    load().backfill([BTC], [MINUTES], days(1, 2))
    load().backfill([BTC], [MINUTES], days(20, 60))
    load().update([], [MINUTES])
    assert ticks(database) == minutes(1, 30)
    assert rows(database, LOADED) == [(1440,), (10 * 1440,), (18 * 1440,)]
    exchange.simulator.log.clear()
    load(lookback=10).update([], [MINUTES])
    assert len(charts(exchange)) == 1, "the cursor is at the newest candle, though another load landed it"
    assert rows(database, FETCHED)[-1] == (10, 0, 0)


def test_a_state_that_is_lost_lands_everything_again_and_harms_nothing(load, database):
    load().backfill([BTC], [MINUTES], days(29, 30))
    execute(database, "truncate deribit_raw._dlt_pipeline_state")
    load().backfill([BTC], [MINUTES], days(29, 30))
    assert rows(database, LOADED) == [(1440,), (1440,)]


def test_a_load_that_does_not_count_is_nothing_to_compare_with(load, database):
    load().backfill([BTC], [MINUTES], days(29, 30))
    opened = database.connect()
    span = {BTC: [days(29, 29.1)]}
    assert read_newest(opened, MINUTES, span)[BTC].num_rows == 144
    execute(database, "update deribit_raw._dlt_loads set status = 1")
    assert read_newest(opened, MINUTES, span) == {}
    opened.close()


def test_only_the_chunks_of_what_is_looked_up_are_opened(load, database):
    load().backfill([BTC], [MINUTES], days(-200, 30))
    spans = {BTC: [days(-150, -149.9), days(29, 30)]}
    opened, asked = database.connect(), []

    class Noting(psycopg2.extensions.cursor):
        def copy_expert(self, statement: str, file: io.BytesIO) -> None:
            asked.append(statement)
            super().copy_expert(statement, file)

    opened.cursor_factory = Noting
    assert read_newest(opened, MINUTES, spans)[BTC].num_rows == 144 + 1440
    opened.close()
    query = asked[0].strip().removeprefix("copy (").rpartition(")")[0].rpartition(")")[0]
    plan = "\n".join(line for (line,) in rows(database, f"explain {query}"))
    assert len(rows(database, "select show_chunks('deribit_raw.candles')")) > 7
    assert len(set(re.findall(r"_hyper_\d+_\d+_chunk", plan))) == 2

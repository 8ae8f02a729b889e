"""No load completes after a newer one, and what killed loads left goes only where nothing contradicts it."""

from __future__ import annotations

import time

import psycopg2
import pytest

from extract.database import cleaning
from extract.database.database import Database
from extract.errors import PerpsError
from tests.support.exchange import BTC
from tests.support.loading import MINUTES, NOW, days, minutes, ticks
from tests.support.perps import Perps, error_line
from tests.support.truth import control, execute, rows

EXCHANGE = {"clock": NOW}
COUNTS = (
    "select (select count(*) from deribit_raw.candles), (select count(*) from deribit_raw.fetches),"
    " (select count(*) from deribit_raw._dlt_pipeline_state)"
)
ENTER = "insert into deribit_raw._dlt_loads values ('{}', 'deribit', {}, now(), '')"
UNFINISHED = "select count(*) from deribit_raw._dlt_loads where status <> 0"
WATERMARKS = """
create schema {schema};
create table {schema}.watermarks (
    relation text primary key, resolution text, read_to numeric, changed_to numeric, read_at timestamptz,
    has_rows boolean
);
insert into {schema}.watermarks (relation, resolution, read_to)
select 'public.perpetuals_ohlcv', '1', max(load_id::numeric) from deribit_raw._dlt_loads;
"""


def enter_load(database: Database, load_id: float) -> None:
    execute(database, *(ENTER.format(load_id, status) for status in (1, 0)))


def advice(refused: str) -> str:
    """Return the statement that lists the loads again."""
    return refused.split("or run: ")[1].split("; or drop", maxsplit=1)[0]


def test_a_load_is_refused_after_a_newer_one_whoever_enters_it(load, database):
    load().backfill([BTC], [MINUTES], days(29, 29.1))
    enter_load(database, time.time())
    with pytest.raises(psycopg2.Error, match=r"a newer load than 17\.5 is complete") as refused:
        enter_load(database, 17.5)
    assert refused.value.pgcode == "PERP1"


def test_of_two_loads_that_complete_at_once_the_older_one_waits_and_is_refused(load, database):
    load().backfill([BTC], [MINUTES], days(29, 29.1))
    newer, older = database.connect(autocommit=False), database.connect()
    with newer.cursor() as first, older.cursor() as second:
        now = time.time()
        execute(database, ENTER.format(now, 1), ENTER.format(now - 0.5, 1))
        first.execute(ENTER.format(now, 0))
        second.execute("set lock_timeout = '200ms'")
        late = ENTER.format(now - 0.5, 0)
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            second.execute(late)
        newer.commit()
        with pytest.raises(psycopg2.Error, match="a newer load"):
            second.execute(late)
    newer.close()
    older.close()


def test_a_refused_load_says_so_leaves_nothing_and_is_completed_by_the_next_run(load, database):
    def landed(_candles: int) -> None:
        enter_load(database, time.time() + 2)

    with pytest.raises(PerpsError, match=r"a newer load than .*again"):
        load(load_candles=5000, landed=landed).backfill([BTC], [MINUTES], days(20, 25))
    assert ticks(database) == minutes(20, 20 + 5000 / 1440)
    assert rows(database, UNFINISHED) == [(1,)]
    time.sleep(2)
    load().backfill([BTC], [MINUTES], days(20, 25))
    assert ticks(database) == minutes(20, 25)
    assert rows(database, UNFINISHED) == [(0,)]
    listed = (
        "select count(*) from deribit_raw.{}"
        " where _dlt_load_id not in (select load_id from deribit_raw._dlt_loads)"
    )
    assert [rows(database, listed.format(table)) for table in cleaning.TABLES] == [[(0,)]] * 6


def test_the_order_of_loads_is_made_once_and_again_where_it_is_missing(load, database):
    load().backfill([BTC], [MINUTES], days(29, 29.1))
    names = "select indexname from pg_indexes where schemaname = 'deribit_raw' order by 1"
    names_made = "candles_load", "fetches_load", "funding_load", "loads_order", "loads_unfinished"
    made = [(name,) for name in (*names_made, "settlements_load")]
    assert rows(database, names) == made
    execute(database, "drop index deribit_raw.fetches_load")
    load().update([], [MINUTES])
    assert rows(database, names) == made
    ordered = "select count(*) from pg_trigger where tgname = 'loads_in_order'"
    assert rows(database, ordered) == [(1,)]


def test_an_emptied_list_of_loads_deletes_nothing_and_says_what_to_run(
    load, database, exchange, perps: Perps
):
    load(load_candles=5000).backfill([BTC], [MINUTES], days(20, 25))
    before = rows(database, COUNTS)
    execute(database, "delete from deribit_raw._dlt_loads")
    refused = error_line(perps("update", database=database, api=exchange.base_url))
    assert "deribit_raw.fetches" in refused
    assert rows(database, COUNTS) == before
    execute(database, advice(refused))
    listed = "select status, count(*) from deribit_raw._dlt_loads group by 1 order by 1"
    assert rows(database, listed) == [(0, 1), (1, 1)]  # the newest may be half
    load().update([], [MINUTES])
    assert ticks(database) == minutes(20, 30)


def test_a_list_that_lost_old_loads_does_no_harm(load, database):
    load(load_candles=5000).backfill([BTC], [MINUTES], days(20, 25))
    execute(
        database,
        "delete from deribit_raw._dlt_loads"
        " where load_id <> (select max(load_id) from deribit_raw._dlt_loads)",
    )
    load().update([], [MINUTES])
    assert ticks(database) == minutes(20, 30)


@pytest.mark.parametrize("schema", ["quality", "dbt_alice_quality"])
def test_a_load_that_a_model_has_read_is_not_deleted_as_a_killed_one(load, database, schema):
    load().backfill([BTC], [MINUTES], days(29, 29.5))
    execute(database, WATERMARKS.format(schema=schema))
    before = rows(database, COUNTS)
    execute(database, "delete from deribit_raw._dlt_loads")
    with pytest.raises(PerpsError, match=rf"{schema}\.watermarks .*nothing was deleted") as refused:
        load().update([], [MINUTES])
    assert rows(database, COUNTS) == before
    execute(database, advice(str(refused.value)))
    load().update([], [MINUTES])
    assert ticks(database) == minutes(29, 30)


def test_a_load_that_was_announced_and_never_completed_is_deleted(load, database):
    load().backfill([BTC], [MINUTES], days(29, 29.5))
    execute(
        database,
        "insert into deribit_raw._dlt_loads select max(load_id::numeric) + 1, 'deribit', 1, now(), ''"
        " from deribit_raw._dlt_loads",
        "insert into deribit_raw.candles select instrument, resolution, \"timestamp\" + interval '1 day',"
        " open, high, low, close, volume, cost, (_dlt_load_id::numeric + 1)::text from deribit_raw.candles",
    )
    load().update([], [MINUTES])
    assert ticks(database) == minutes(29, 30)
    assert rows(database, UNFINISHED) == [(0,)]


def test_a_killed_run_that_still_commits_completes_nothing_that_was_swept(load, database):
    load().backfill([BTC], [MINUTES], days(29, 29.5))
    now = time.time()
    execute(database, ENTER.format(now, 1))
    sweeping, late = database.connect(), database.connect()
    cleaning.sweep(sweeping)
    with late.cursor() as cursor, pytest.raises(psycopg2.Error, match="was not announced, or was given up"):
        cursor.execute(ENTER.format(now, 0))
    sweeping.close()
    late.close()
    assert rows(database, UNFINISHED) == [(0,)]


def test_full_answers_of_long_ago_go_and_those_that_tell_of_holes_stay(load, database):
    load().backfill([BTC], [MINUTES], days(29, 29.5))
    copied = (
        "insert into deribit_raw.fetches select instrument, {kind}, window_start, {end}, {rows}, 0, 0,"
        " fetched_at, origin, (_dlt_load_id::numeric - {age})::text from deribit_raw.fetches"
        " where _dlt_load_id in (select load_id from deribit_raw._dlt_loads)"
    )
    kept, old = cleaning.FETCHES_KEPT - 60, cleaning.FETCHES_KEPT + 60
    candles, end = "endpoint, resolution", "window_end"
    days_long, hours_long = "window_start + interval '2 days'", "window_start + interval '2 hours'"
    execute(
        database,
        copied.format(kind=candles, end=end, rows=720, age=kept),
        copied.format(kind=candles, end=end, rows=720, age=old),
        copied.format(kind=candles, end=end, rows=719, age=old),
        copied.format(kind=candles, end=end, rows=0, age=old),
        *(
            copied.format(kind=kind, end=longer, rows=rows, age=old)
            for kind, longer in (
                ("endpoint, '1D'", days_long),
                ("'funding', null", hours_long),
                ("'settlements', null", days_long),
            )
            for rows in (1, 2)
        ),
    )
    load().update([BTC], [MINUTES])
    found = "select endpoint, resolution, rows from deribit_raw.fetches where {} order by 2, 3, 1"
    minutes_kept = [("candles", "1", rows) for rows in (0, 719, 720, 720, 730)]
    assert rows(database, found.format("resolution = '1'")) == minutes_kept
    others = [("candles", "1D", 1), ("funding", None, 1), ("settlements", None, 1)]
    assert rows(database, found.format("resolution is distinct from '1'")) == others


def test_of_many_states_the_newest_ten_stay(load, database, exchange):
    load().backfill([BTC], [MINUTES], days(29, 60))
    for _ in range(12):
        control(exchange.base_url, "clock", {"advance_ms": 60_000})
        load().update([], [MINUTES])
    states = "select count(*) from deribit_raw._dlt_pipeline_state"
    assert rows(database, states) == [(10,)]
    assert ticks(database) == minutes(29, 30 + 12 / 1440)

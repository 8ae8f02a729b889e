"""Builds after builds: what is read, what is written, and what two builds do to each other."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.support.dbt_project import DAY, Candle, DbtProject, candles, minute
from tests.support.waiting import wait_until

MODEL = ("--select", "perpetuals_ohlcv")
MODEL_AND_PARENTS = ("--select", "+perpetuals_ohlcv")
TABLES = ("--select", "perpetuals_ohlcv", "rejected_candles")
BUILD = ("build", "--exclude-resource-type", "unit_test")

WRITTEN = """
select relid::regclass::text, n_tup_ins, n_tup_upd, n_tup_del
from pg_stat_user_tables
where schemaname <> 'test_failures'
union all
-- a view that is made again has another row here, and so has a table that is altered
select oid::regclass::text, xmin::text::bigint, 0, 0
from pg_class
where relkind in ('v', 'r') and relnamespace::regnamespace::text in ('public', 'quality', 'staging')
order by 1, 2
"""


def closes(project: DbtProject) -> list[Decimal]:
    return [
        row[0] for row in project.query("select close from perpetuals_ohlcv order by timestamp, instrument")
    ]


def versions(project: DbtProject) -> list[tuple[str, ...]]:
    """Return where every row lies and which transaction wrote it: both change when a row is written again."""
    return project.query(
        "select tableoid::regclass::text, ctid::text, xmin::text from perpetuals_ohlcv order by 1, 2"
    )


def marks(project: DbtProject) -> dict[str, tuple[Decimal, Decimal]]:
    """Return up to which load each relation has read, and had read when it last had something to build."""
    read = project.query("select relation, read_to, changed_to from quality.watermarks")
    return {relation: (to, changed_to) for relation, to, changed_to in read}


def written(project: DbtProject) -> list[tuple[Any, ...]]:
    """Return how often rows of each table were written, and which transaction made each view and table."""
    project.settle()
    return project.query(WRITTEN)


def test_later_builds_write_what_differs_and_nothing_else(project: DbtProject) -> None:
    project.land("10.5", [*candles(0, 20), Candle(minute(30), open=None)])
    project.build()
    before = versions(project)

    project.land("11.5", [Candle(minute(7), close=101.0), Candle(minute(8)), Candle(minute(20))])
    project.build(*TABLES)
    assert closes(project)[7] == Decimal(101)
    assert len(set(versions(project)) - set(before)) == 2, "the unchanged candle was written again"

    after = versions(project)
    project.build("--full-refresh", *TABLES)
    assert versions(project) == after
    assert project.query("select count(*) from quality.rejected_candles") == [(1,)]


def test_a_build_of_nothing_new_writes_nothing(project: DbtProject) -> None:
    project.land("10.5", [*candles(0, DAY + 20), Candle(minute(2000), open=None)])
    project.land("11.5", [Candle(minute(7), close=101.0), Candle(minute(60), resolution="60")])
    for _ in range(2):
        project.run(*BUILD)
    before = written(project)
    assert {"perpetuals_ohlcv_1d", "quality.ohlcv_gaps", "quality.watermarks"} < {row[0] for row in before}
    project.run(*BUILD)
    assert written(project) == before


def test_the_mark_moves_with_the_rows_and_a_follower_reads_no_further(project: DbtProject) -> None:
    project.land("9.5", candles(0, 5))
    project.build("--select", "+ohlcv_candle_days")
    project.land("10.5", candles(5, 10))
    project.build("--select", "ohlcv_candle_days")
    assert project.query("select candles from quality.ohlcv_candle_days") == [(5,)]
    project.build(*MODEL)
    nine, ten = Decimal("9.5"), Decimal("10.5")
    assert marks(project)["public.perpetuals_ohlcv"] == (ten, ten)
    assert marks(project)["quality.ohlcv_candle_days"] == (nine, nine)
    project.build("--select", "ohlcv_candle_days")
    assert marks(project)["quality.ohlcv_candle_days"] == (ten, ten)
    assert project.query("select candles from quality.ohlcv_candle_days") == [(10,)]


def test_an_increment_opens_only_the_chunks_that_it_touches(project: DbtProject) -> None:
    months = [Candle(minute(0) + timedelta(days=30 * month)) for month in range(12)]
    project.land("10.5", months)
    project.build(*MODEL_AND_PARENTS)
    project.land("11.5", [months[1]._replace(close=99.0), months[10]._replace(close=99.0)])
    project.build(*MODEL)
    path = project.work / "target/run/deribit_perps/dbt_project/models/marts/perpetuals_ohlcv.sql"
    statements = [each for each in path.read_text().split(";") if "insert into" in each]
    assert len(statements) == 2, "one for each touched chunk"
    for statement in statements:
        plan = "\n".join(line for (line,) in project.query("explain " + statement))
        # one chunk of the raw candles, one of the table
        assert len(set(re.findall(r"_hyper_\d+_\d+_chunk\b", plan))) == 2, plan


def test_what_surrounds_stored_candles_is_added_and_what_overlaps_them_compared(project: DbtProject) -> None:
    """One load with all kinds of ranges: older than all, among them, newer, of another instrument."""
    project.land("10.5", [*candles(5 * DAY, 5 * DAY + 100), *candles(9 * DAY, 9 * DAY + 3)])
    project.build(*MODEL_AND_PARENTS)
    before = versions(project)
    load = candles(0, 16 * DAY)
    load[5 * DAY + 7] = load[5 * DAY + 7]._replace(close=101.0)
    project.land("11.5", [*load, *candles(2 * DAY, 3 * DAY, instrument="ETH-PERPETUAL")])
    project.build(*MODEL)
    assert len(set(before) - set(versions(project))) == 1, "an unchanged candle was written again"
    assert closes(project).count(Decimal(101)) == 1
    after = project.checksum()
    assert after[0] == 17 * DAY
    project.query("drop table perpetuals_ohlcv cascade")
    project.build(*MODEL)
    assert project.checksum() == after


def test_a_table_that_nobody_has_analyzed_is_compared_in_seconds(project: DbtProject) -> None:
    """One row is expected of it: a loop in a loop over these would take an hour."""
    project.land("10.5", [*candles(0, 10 * DAY), *candles(0, 10 * DAY, instrument="ETH-PERPETUAL")])
    project.build("--select", "+ohlcv_candle_days")
    assert project.reread("perpetuals_ohlcv").success
    project.query(f"alter database {project.database.dbname} set statement_timeout = '30s'")
    try:
        project.build("--select", "+ohlcv_candle_days")
    finally:
        project.query(f"alter database {project.database.dbname} reset statement_timeout")
    assert project.query("select count(*) from perpetuals_ohlcv") == [(20 * DAY,)]


def test_a_mark_older_than_the_answers_that_are_kept_takes_its_ranges_from_raw(project: DbtProject) -> None:
    """Full answers are deleted after three days; a target left alone for longer still misses nothing."""
    start, month = 1_704_067_200, 30 * 86_400
    project.land(f"{start}.5", candles(0, 3 * DAY))
    project.build()
    project.land(f"{start + 60}.5", [Candle(minute(7), close=101.0)])  # a revision
    project.land(f"{start + 120}.5", candles(40 * DAY, 40 * DAY + 10))  # history of another month
    bar = Candle(minute(60), resolution="60", volume=150.0)
    project.land(f"{start + 180}.5", [bar])
    # nothing came of it, which is why it is kept; no candle of these loads is near
    project.answered(minute(2 * DAY), minute(2 * DAY + 60), f"{start + 180}.5", "60")
    project.query("delete from deribit_raw.fetches where rows > 0")
    project.land(f"{start + month}.5", candles(3 * DAY, 3 * DAY + 5))
    project.build()
    assert project.query("select count(*) from perpetuals_ohlcv") == [(3 * DAY + 15,)]
    assert closes(project)[7] == Decimal(101)
    assert project.query("select timestamp, new_close from quality.ohlcv_revisions") == [(minute(7), 101)]
    compared = "select timestamp, status from quality.ohlcv_reconciliation order by 1"
    assert project.query(compared) == [(minute(60), "identical"), (minute(2 * DAY), "missing_at_deribit")]
    days = "select day::text, candles from quality.ohlcv_candle_days order by 1 desc limit 2"
    assert project.query(days) == [("2024-02-10", 10), ("2024-01-04", 5)]
    read = {to for to, _ in marks(project).values()}
    assert read == {Decimal(f"{start + month}.5")}


def test_a_load_completed_while_a_build_runs_waits_for_the_next_build(project: DbtProject) -> None:
    project.land("10.5", candles(0, 5))
    project.build(*MODEL_AND_PARENTS)
    project.land("11.5", candles(5, 6))
    with project.locked("public.perpetuals_ohlcv"):
        running = project.start("run", *MODEL)
        wait_until(lambda: project.waiting("relation") == 1, "a build that waits for the table")
        project.land("12.5", candles(6, 7))
    assert running.wait() == 0, running.said.read_text()
    assert len(closes(project)) == 6
    project.build(*MODEL)
    assert len(closes(project)) == 7


@pytest.mark.parametrize("cold", [True, False], ids=["first build", "increment"])
def test_two_builds_at_once_queue_and_the_second_finds_nothing_left_to_do(
    project: DbtProject, cold: bool
) -> None:
    project.land("10.5", candles(0, 5))
    project.build("--select", "+stg_candles" if cold else "+perpetuals_ohlcv")
    project.land("11.5", candles(4, 8, close=99.0))
    with project.locked("deribit_raw.candles" if cold else "public.perpetuals_ohlcv"):
        running = [project.start("run", *MODEL)]
        wait_until(lambda: project.waiting("relation") == 1, "a build that waits for the table")
        running.append(project.start("run", *MODEL))
        wait_until(lambda: project.waiting("transactionid") == 1, "a second build that waits for the mark")
    assert [each.wait() for each in running] == [0, 0], [each.said.read_text() for each in running]
    assert closes(project) == [Decimal(105)] * 4 + [Decimal(99)] * 4
    assert "UPSERT 0" in running[1].said.read_text()
    before = versions(project)
    project.build(*MODEL)
    assert versions(project) == before


def test_daily_candles_build_and_never_mix_with_minutes(project: DbtProject) -> None:
    days = [Candle(minute(8 * 60) + timedelta(days=day), resolution="1D") for day in (0, 1, 3)]
    midnight = [Candle(minute(0), resolution="1D")]
    project.land("10.5", [*days, *midnight, *candles(0, 5)])
    variables = ("--vars", "{base_resolution: 1D, gap_threshold_minutes: 1440}")
    build = ("--select", "+ohlcv_coverage", "+ohlcv_gaps", "+ohlcv_revisions", *variables)
    project.build(*build)
    assert project.query("select timestamp from perpetuals_ohlcv order by 1") == [
        (day.timestamp,) for day in days
    ]
    assert project.query("select gap_minutes from quality.ohlcv_gaps") == [(1440,)]
    assert project.query("select expected, missing from quality.ohlcv_coverage") == [(4, 1)]
    assert project.query("select reason from quality.rejected_candles") == [("off_grid",)]
    project.land("11.5", [days[0]._replace(close=106.0), days[0]._replace(timestamp=days[1].timestamp)])
    project.build(*build)
    assert closes(project) == [Decimal(106), Decimal(105), Decimal(105)]
    tested = project.run("test", "--select", "candles_match_days", *variables)
    assert tested.statuses == {"candles_match_days": "pass"}

    view = "select pg_get_viewdef('staging.stg_candles'::regclass)"
    before = project.checksum(), project.query(view)
    outcome = project.run("run")
    assert not outcome.success
    assert "public.perpetuals_ohlcv was built with base_resolution 1D" in outcome.output
    assert (project.checksum(), project.query(view)) == before, "touched before it was refused"

    project.query("drop table perpetuals_ohlcv cascade")
    project.build()
    assert project.query("select count(*) from perpetuals_ohlcv") == [(5,)]
    for of_the_other in ("ohlcv_revisions", "rejected_candles"):
        assert project.query(f"select count(*) from quality.{of_the_other}") == [(0,)]
    assert project.query("select candles, expected from quality.ohlcv_days") == [(5, 5)]


def test_a_plain_table_in_the_way_is_named(project: DbtProject) -> None:
    project.query("create table public.perpetuals_ohlcv (kept boolean)")
    outcome = project.run("run", "--select", "stg_loads", "stg_candles", "perpetuals_ohlcv")
    assert not outcome.success
    assert "public.perpetuals_ohlcv to be a hypertable" in outcome.output
    assert project.query("select * from public.perpetuals_ohlcv") == []


def test_a_column_that_somebody_dropped_is_named(project: DbtProject) -> None:
    project.land("10.5", candles(0, 5))
    project.build(*MODEL_AND_PARENTS)
    project.query("alter table public.perpetuals_ohlcv drop column volume")
    project.query("update quality.definitions set definition = '' where relation = 'public.perpetuals_ohlcv'")
    outcome = project.run("run", *MODEL)
    assert not outcome.success
    assert "public.perpetuals_ohlcv to have the columns of its contract" in outcome.output


def test_an_empty_run_is_refused_before_it_counts_loads_as_read(project: DbtProject) -> None:
    project.land("10.5", candles(0, 5))
    outcome = project.run("run", "--empty")
    assert not outcome.success
    assert "--empty" in outcome.output
    project.build(*MODEL_AND_PARENTS)
    assert len(closes(project)) == 5


def test_a_database_without_raw_tables_is_named(project: DbtProject) -> None:
    project.drop_everything()
    outcome = project.run("run")
    assert not outcome.success
    assert "schema deribit_raw of database" in outcome.output

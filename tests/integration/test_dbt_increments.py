"""Builds after builds: what is read, what is written, and what two builds do to each other."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.integration.dbt_harness import Candle, DbtProject, candles, minute, wait_until

MODEL = ("--select", "perpetuals_ohlcv")
MODEL_AND_PARENTS = ("--select", "+perpetuals_ohlcv")
TABLES = ("--select", "perpetuals_ohlcv", "rejected_candles")


def closes(project: DbtProject) -> list[Decimal]:
    return [
        row[0] for row in project.query("select close from perpetuals_ohlcv order by timestamp, instrument")
    ]


def versions(project: DbtProject) -> list[tuple[str, ...]]:
    """Return where every row lies and which transaction wrote it: both change when a row is written again."""
    return project.query(
        "select tableoid::regclass::text, ctid::text, xmin::text from perpetuals_ohlcv order by 1, 2"
    )


def test_later_builds_write_what_differs_and_nothing_else(project: DbtProject) -> None:
    project.land("10.5", [*candles(0, 20), Candle(minute(30), open=None)])
    project.build()
    before = versions(project)

    project.build()
    assert versions(project) == before

    project.land("11.5", [Candle(minute(7), close=101.0), Candle(minute(8)), Candle(minute(20))])
    project.build(*TABLES)
    assert closes(project)[7] == Decimal(101)
    assert len(set(versions(project)) - set(before)) == 2, "the unchanged candle was written again"

    after = versions(project)
    project.build("--full-refresh", *TABLES)
    assert versions(project) == after
    assert project.query("select count(*) from quality.rejected_candles") == [(1,)]

    project.query(f"update perpetuals_ohlcv set close = 1 where timestamp = '{minute(3)}'")
    project.query(f"delete from perpetuals_ohlcv where timestamp = '{minute(4)}'")
    project.build(*TABLES)
    assert closes(project)[3] == Decimal(1), "loads that were consumed were read again"
    for model in ("perpetuals_ohlcv", "rejected_candles"):
        assert project.run("run-operation", "reread_loads", "--args", f"{{model: {model}}}").success
    project.build(*TABLES)
    assert closes(project) == [Decimal(101 if at == 7 else 105) for at in range(21)]
    assert project.query("select count(*) from quality.rejected_candles") == [(1,)]


def test_a_load_that_completes_late_does_not_overrule_a_newer_one(project: DbtProject) -> None:
    project.land("10.5", [Candle(minute(0), close=91.0), Candle(minute(1), close=91.0)], complete=False)
    project.land("11.5", [Candle(minute(0), close=92.0)])
    project.build(*MODEL_AND_PARENTS)
    project.complete("10.5")
    project.build(*MODEL)
    assert closes(project) == [Decimal(92), Decimal(91)]


def test_a_dropped_table_is_built_again_from_all_loads(project: DbtProject) -> None:
    project.land("10.5", candles(0, 5))
    project.build()
    before = project.checksum()
    project.query("drop table perpetuals_ohlcv cascade")
    project.build()
    assert project.checksum() == before


def test_an_increment_opens_only_the_chunks_that_it_touches(project: DbtProject) -> None:
    months = [Candle(minute(0) + timedelta(days=30 * month)) for month in range(12)]
    project.land("10.5", months)
    project.build(*MODEL_AND_PARENTS)
    project.land("11.5", [months[1]._replace(close=99.0), months[10]._replace(close=99.0)])
    project.build(*MODEL)
    path = project.work / "target/run/deribit_perps/dbt_project/models/marts/perpetuals_ohlcv.sql"
    statements = [each for each in path.read_text().split(";") if "insert into" in each]
    assert len(statements) == 2, "one for each touched chunk"
    opened = project.connection.connect()
    with opened.cursor() as cursor:
        for statement in statements:
            cursor.execute("explain " + statement)
            plan = "\n".join(row[0] for row in cursor.fetchall())
            # one chunk of the raw candles, one of the table
            assert len(set(re.findall(r"_hyper_\d+_\d+_chunk\b", plan))) == 2, plan
    opened.close()


def test_what_surrounds_stored_candles_is_added_and_what_overlaps_them_compared(project: DbtProject) -> None:
    """One load that is large enough to be inserted in parts: older than all, among them, newer than all."""
    day = 1440
    project.land("10.5", [*candles(5 * day, 5 * day + 100), *candles(9 * day, 9 * day + 3)])
    project.build(*MODEL_AND_PARENTS)
    before = versions(project)
    load = candles(0, 16 * day)
    load[5 * day + 7] = load[5 * day + 7]._replace(close=101.0)
    project.land("11.5", [*load, *candles(2 * day, 3 * day, instrument="ETH-PERPETUAL")])
    project.build(*MODEL)
    assert len(set(before) - set(versions(project))) == 1, "an unchanged candle was written again"
    assert closes(project).count(Decimal(101)) == 1
    after = project.checksum()
    assert after[0] == 17 * day
    project.query("drop table perpetuals_ohlcv cascade")
    project.build(*MODEL)
    assert project.checksum() == after


def test_a_database_of_an_earlier_version_is_counted_once(project: DbtProject) -> None:
    project.land("10.5", [*candles(0, 5), Candle(minute(7), resolution="60"), Candle(minute(8), open=None)])
    project.build()
    counted = "select load_id, resolution, candles, rejected from quality.loaded_days order by 1, 2"
    before = project.query(counted)
    assert before == [("10.5", "1", 6, 1), ("10.5", "60", 1, 0)]
    written = versions(project)
    project.query("drop table quality.loaded_days")
    project.query("delete from quality.consumed_loads where model = 'loaded_days'")
    project.land("11.5", [Candle(minute(4), close=106.0)])
    project.build()
    assert project.query(counted) == [*before, ("11.5", "1", 1, 0)]
    assert len(set(written) - set(versions(project))) == 1
    assert project.query("select load_id from quality.ohlcv_revisions") == [("11.5",)]


def test_counting_loads_again_takes_nothing_from_a_build_under_way(project: DbtProject) -> None:
    project.land("10.5", candles(0, 5))
    project.build(*MODEL_AND_PARENTS)
    project.land("11.5", candles(3, 8, close=99.0))
    with project.locked("public.perpetuals_ohlcv"):
        running = project.start("run", *MODEL)
        wait_until(lambda: project.waiting("relation") == 1, "a build that waits for the table")
        assert project.run("run-operation", "reread_loads", "--args", "{model: loaded_days}").success
    assert running.wait() == 0, running.said.read_text()
    assert closes(project) == [Decimal(105)] * 3 + [Decimal(99)] * 5
    project.build(*MODEL)
    assert project.query("select load_id, candles from quality.loaded_days order by 1") == [
        ("10.5", 5),
        ("11.5", 5),
    ]


@pytest.mark.parametrize("asked", ["all", "some", "none"])
def test_loads_are_counted_within_the_windows_asked_for_if_all_have_some(
    project: DbtProject, asked: str
) -> None:
    project.land("10.5", candles(0, 5))
    project.land("11.5", candles(60 * 1440, 60 * 1440 + 5))
    if asked != "none":
        project.answered(minute(0), minute(5), load_id="10.5")
    if asked == "all":
        project.answered(minute(60 * 1440), minute(60 * 1440 + 5), load_id="11.5")
    project.build(*MODEL_AND_PARENTS)
    assert project.query("select load_id, candles from quality.loaded_days order by 1") == [
        ("10.5", 5),
        ("11.5", 5),
    ]
    assert len(closes(project)) == 10


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
def test_two_builds_at_once_leave_the_right_table(project: DbtProject, cold: bool) -> None:
    project.land("10.5", candles(0, 5))
    project.build("--select", "stg_candles" if cold else "+perpetuals_ohlcv")
    project.land("11.5", candles(4, 8, close=99.0))
    with project.locked("deribit_raw.candles" if cold else "public.perpetuals_ohlcv"):
        running = [project.start("run", *MODEL)]
        wait_until(lambda: project.waiting("relation") == 1, "a build that waits for the table")
        running.append(project.start("run", *MODEL))
        wait_until(
            lambda: project.waiting("advisory") == 1 or project.waiting("relation") == 2,
            "a second build that waits",
        )
    assert [each.wait() for each in running] == [0, 0], [each.said.read_text() for each in running]
    assert closes(project) == [Decimal(105)] * 4 + [Decimal(99)] * 4


def test_a_second_first_build_of_the_days_counts_every_load_again(project: DbtProject) -> None:
    """Both began without a table; the second finds that of the first, and one load that the first had not."""
    project.land("10.5", candles(0, 5))
    project.build("--select", "+perpetuals_ohlcv")
    days = ("run", "--select", "ohlcv_days")
    landing = project.connection.connect(autocommit=False)
    with landing.cursor() as cursor:
        cursor.execute("lock table public.perpetuals_ohlcv in access exclusive mode")
        running = [project.start(*days)]
        wait_until(lambda: project.waiting("relation") == 1, "a build that waits for the table")
        running.append(project.start(*days))
        wait_until(lambda: project.waiting("advisory") == 1, "a build that waits for the first one")
        cursor.execute(
            "insert into perpetuals_ohlcv select timestamp + interval '1 day', instrument, open, high, low,"
            " close, volume from perpetuals_ohlcv limit 1;"
            "insert into quality.loaded_days select '11.5', instrument, resolution, day + 1, 1, 0,"
            " first_at + interval '1 day', first_at + interval '1 day' from quality.loaded_days;"
            "insert into quality.consumed_loads (model, resolution, load_id)"
            " select model, resolution, '11.5' from quality.consumed_loads where model <> 'ohlcv_days'"
        )
        landing.commit()
    landing.close()
    assert [each.wait() for each in running] == [0, 0], [each.said.read_text() for each in running]
    loads = "select day::text, candles, last_load from quality.ohlcv_days order by 1"
    assert project.query(loads) == [("2024-01-01", 5, "10.5"), ("2024-01-02", 1, "11.5")]


def test_daily_candles_build_and_never_mix_with_minutes(project: DbtProject) -> None:
    days = [Candle(minute(8 * 60) + timedelta(days=day), resolution="1D") for day in (0, 1, 3)]
    midnight = [Candle(minute(0), resolution="1D")]
    project.land("10.5", [*days, *midnight, *candles(0, 5)])
    # a target folder of its own: dbt parses everything again when the variables change
    daily = DbtProject(project.connection, project.work / "daily")
    daily.build("--vars", "{base_resolution: 1D}")
    assert project.query("select timestamp from perpetuals_ohlcv order by 1") == [
        (day.timestamp,) for day in days
    ]
    assert project.query("select gap_minutes from quality.ohlcv_gaps") == [(1440,)]
    assert project.query("select expected, missing from quality.ohlcv_coverage") == [(4, 1)]
    assert project.query("select reason from quality.rejected_candles") == [("off_grid",)]

    outcome = project.run("run")
    assert not outcome.success
    assert "expected base_resolution 1D, which this database was built with, got 1; " in outcome.output
    assert project.query("select count(*) from perpetuals_ohlcv") == [(3,)]
    assert project.query("select reason from quality.rejected_candles") == [("off_grid",)]
    assert project.query("select expected, missing from quality.ohlcv_coverage") == [(4, 1)]


def test_a_plain_table_in_the_way_is_named(project: DbtProject) -> None:
    project.query("create table public.perpetuals_ohlcv (kept boolean)")
    outcome = project.run("run", "--select", "stg_candles", "perpetuals_ohlcv")
    assert not outcome.success
    assert 'expected "public"."perpetuals_ohlcv" to be a hypertable, got a plain table; ' in outcome.output
    assert project.query("select * from public.perpetuals_ohlcv") == []


def test_an_empty_run_is_refused_before_it_counts_loads_as_read(project: DbtProject) -> None:
    project.land("10.5", candles(0, 5))
    outcome = project.run("run", "--empty")
    assert not outcome.success
    assert "expected a command that reads rows, got --empty; " in outcome.output
    project.build(*MODEL_AND_PARENTS)
    assert len(closes(project)) == 5


def test_a_database_without_raw_tables_is_named(project: DbtProject) -> None:
    project.drop_everything()
    outcome = project.run("run")
    assert not outcome.success
    assert "expected the raw tables in schema deribit_raw of database" in outcome.output

"""quality.ohlcv_days: what a build rebuilds, what gaps, coverage and fills make of it, and the full audit."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.support.dbt_project import DAY, Candle, DbtProject, candles, minute
from tests.support.exchange import BTC, ETH

AUDITING = ("--vars", "{audit: true}")
AUDITS = ("--select", "tag:audit", "--exclude", "audit_rollups")
WRITTEN = "select instrument || day, xmin::text || ctid::text from quality.ohlcv_candle_days"


def days(project: DbtProject, *columns: str) -> list[tuple[Any, ...]]:
    return project.query(f"select {', '.join(columns)} from quality.ohlcv_days order by instrument, day")


def audited(project: DbtProject) -> set[str]:
    """Run the full audit; return the names of the tests that failed."""
    statuses = project.run("test", *AUDITS, *AUDITING).statuses
    audits = {name: status for name, status in statuses.items() if name.startswith("audit_")}
    assert len(audits) == 14
    return {name for name, status in audits.items() if status != "pass"}


def test_a_day_says_what_is_there_and_what_is_not(project: DbtProject) -> None:
    bad = [Candle(minute(5), high=80.0), Candle(minute(6), volume=-1.0)]
    project.land("10.5", [*candles(1, 5), *bad, *candles(10, DAY, volume=0.0), *candles(DAY, DAY + 3)])
    project.build("--select", "+ohlcv_days")
    whole = date(2024, 1, 1)
    assert days(project, "day", "candles", "expected", "largest_gap_minutes", "fills", "violations") == [
        (whole, DAY - 4, DAY - 1, 3, DAY - 10, 2),
        (whole + timedelta(days=1), 3, 3, 0, 0, 0),
    ]
    assert days(project, "first_candle", "last_candle")[0] == (minute(1), minute(1439))
    bar = days(project, "open", "high", "low", "close", "volume")[0]
    assert bar == (Decimal(100), Decimal(110), Decimal(90), Decimal(105), Decimal("11.5"))


def test_a_build_writes_the_days_that_changed_and_no_other(project: DbtProject) -> None:
    project.land("10.5", [*candles(0, 3 * DAY), *candles(0, 10, instrument=ETH)])
    project.build()
    written = dict(project.query(WRITTEN))
    project.land("11.5", [Candle(minute(DAY + 7), volume=0.0)])
    project.build()
    after = dict(project.query(WRITTEN))
    assert {name for name in after if after[name] != written[name]} == {f"{BTC}2024-01-02"}
    assert days(project, "fills")[:3] == [(0,), (1,), (0,)]
    assert audited(project) == set()


def test_history_loaded_later_completes_the_day_that_was_first_and_the_day_that_was_last(
    project: DbtProject,
) -> None:
    project.land("10.5", candles(DAY + 60, DAY + 120))
    project.build()
    assert days(project, "candles", "expected") == [(60, 60)]

    project.land("11.5", [Candle(minute(0)), Candle(minute(3 * DAY))])
    project.build()
    assert days(project, "candles", "expected", "largest_gap_minutes") == [
        (1, DAY, DAY - 1),
        (60, DAY, DAY - 120),
        (0, DAY, DAY),
        (1, 1, 0),
    ]
    assert audited(project) == set()
    coverage = project.query(
        "select candles, expected, missing, first_candle, last_candle from quality.ohlcv_coverage"
    )
    assert coverage == [(62, 3 * DAY + 1, 3 * DAY - 61, minute(0), minute(3 * DAY))]


def test_a_day_of_nothing_usable_is_a_day_without_candles(project: DbtProject) -> None:
    project.land("10.5", [*candles(0, 5), Candle(minute(DAY), open=None)])
    project.build()
    assert days(project, "candles") == [(5,)]
    project.land("11.5", candles(2 * DAY, 2 * DAY + 5))
    project.build()
    assert days(project, "candles", "expected", "close") == [
        (5, DAY, Decimal(105)),
        (0, DAY, None),
        (5, 5, Decimal(105)),
    ]
    assert audited(project) == set()


def test_a_gap_across_midnight_is_one_gap(project: DbtProject) -> None:
    project.land("10.5", [*candles(0, DAY - 5), *candles(2 * DAY + 5, 2 * DAY + 10)])
    project.build("--select", "+ohlcv_gaps")
    gaps = "select gap_start, gap_end, gap_minutes from quality.ohlcv_gaps"
    assert project.query(gaps) == [(minute(DAY - 6), minute(2 * DAY + 5), DAY + 10)]
    project.land("11.5", candles(DAY - 5, 2 * DAY + 5))
    project.build("--select", "+ohlcv_gaps")
    assert project.query(gaps) == []


def test_a_run_of_fills_across_midnight_is_one_run_and_a_short_one_is_none(project: DbtProject) -> None:
    quiet = [*candles(DAY - 57, DAY + 3, volume=0.0), *candles(DAY + 100, DAY + 159, volume=0.0)]
    rest = [*candles(DAY - 80, DAY - 57), *candles(DAY + 3, DAY + 100), *candles(DAY + 159, 2 * DAY)]
    project.land("10.5", quiet + rest)
    project.build()
    runs = "select run_start, run_end, minutes from quality.ohlcv_fill_runs"
    assert project.query(runs) == [(minute(DAY - 57), minute(DAY + 2), 60)]
    assert audited(project) == set()


def test_days_are_utc_days_in_any_time_zone_and_nothing_is_made_again_for_it(project: DbtProject) -> None:
    project.land("10.5", [*candles(0, 100), *candles(300, 2 * DAY)])
    project.build()
    schema = "relnamespace = 'quality'::regnamespace"
    views = f"select oid, xmin::text from pg_class where relkind = 'v' and {schema} order by 1"
    found = days(project, "day", "candles", "missing::text")
    before = [project.query(WRITTEN), project.query(views)]
    database = project.database.dbname
    project.query(f"alter database {database} set timezone to 'Asia/Hong_Kong'")
    try:
        assert project.reread("ohlcv_candle_days").success
        project.build()
        assert [project.query(WRITTEN), project.query(views)] == before
        assert audited(project) == set()
    finally:
        project.query(f"alter database {database} reset timezone")
    assert days(project, "day", "candles", "missing::text") == found


AT, EARLY = "timestamp = '2024-01-01 00:07+00'", "timestamp < '2024-01-01 02:00+00'"
MISSING = '{["2024-01-01 01:00+00","2024-01-01 01:01+00")}'
ALTERATIONS = {
    f"update perpetuals_ohlcv set volume = 7 where {AT}": "candles days reconciliation",
    f"delete from perpetuals_ohlcv where {AT}": "candles coverage days gaps reconciliation",
    f"update perpetuals_ohlcv set high = 1 where {AT}": "candles days violations",
    f"update perpetuals_ohlcv set volume = 0 where {EARLY}": "candles days fill_runs inexact reconciliation",
    "truncate perpetuals_ohlcv": "candles coverage days inexact moves reconciliation",
    "delete from quality.ohlcv_candle_days where day = '2024-01-01'": "coverage days",
    f"update quality.ohlcv_candle_days set missing = '{MISSING}' where day = '2024-01-01'": "gaps",
    "delete from quality.ohlcv_revisions": "revisions",
    "delete from quality.rejected_candles": "rejected_candles",
    "update quality.ohlcv_inexact set inexact = inexact + 1": "inexact",
    "update quality.ohlcv_moves set largest = 9": "moves",
    "update quality.exchange_bars set close = 9": "exchange_bars reconciliation",
    "update quality.ohlcv_reconciliation set status = 'identical'": "reconciliation",
    "delete from quality.ohlcv_reconciliation": "reconciliation",
}
"""What the audits notice, by their names without audit_."""


@pytest.fixture(scope="module")
def right(warm: DbtProject) -> DbtProject:
    warm.start_anew()
    warm.land("10.5", candles(0, DAY + 100))
    warm.land("11.5", [Candle(minute(3), close=104.000000001), Candle(minute(5), open=None)])
    warm.land("12.5", [Candle(minute(60 * at), resolution="60", volume=150.0 + at) for at in range(3)])
    warm.answered(minute(0), minute(240), "12.5", "60")
    warm.build()
    statuses = warm.query("select status, count(*) from quality.ohlcv_reconciliation group by 1 order by 1")
    assert statuses == [("different", 2), ("identical", 1), ("missing_at_deribit", 1)]
    assert audited(warm) == set()
    return warm


@pytest.fixture(scope="module")
def audits(right: DbtProject) -> dict[str, str]:
    """Return the audits as dbt runs them, by name."""
    named = right.run("compile", *AUDITS, *AUDITING)
    assert named.success, named.output
    files = {path.stem: path for path in right.parsed(*AUDITING).rglob("audit_*.sql")}
    compiled = {name: files[name].read_text() for name in named.statuses if name.startswith("audit_")}
    assert len(compiled) == 14
    return compiled


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_the_audit_notices(right: DbtProject, audits: dict[str, str], alteration: str) -> None:
    with right.database.reading() as cursor:
        cursor.execute("begin")
        cursor.execute(alteration)
        found = set()
        for name, sql in audits.items():
            cursor.execute(sql)
            found |= {name} if cursor.rowcount else set()
        cursor.execute("rollback")
    assert found == {f"audit_{name}" for name in ALTERATIONS[alteration].split()}


def test_reading_the_loads_again_heals_what_the_audit_found_with_all_that_is_made_of_it(
    right: DbtProject,
) -> None:
    right.query("update quality.ohlcv_candle_days set fills = 9 where day = '2024-01-02'")
    right.query("update quality.ohlcv_revisions set old_close = 9")
    right.query("update perpetuals_ohlcv set volume = 0 where timestamp = '2024-01-01 00:07+00'")
    found = {"audit_candles", "audit_days", "audit_revisions", "audit_reconciliation"}
    assert audited(right) == found
    for wrong in ("ohlcv_revisions", "perpetuals_ohlcv"):
        assert right.reread(wrong).success
    right.build()
    assert audited(right) == set()


def test_a_name_that_no_model_has_is_answered_with_those_that_can_be_read_again(right: DbtProject) -> None:
    outcome = right.reread("ohlcv_days")
    assert not outcome.success
    assert "'ohlcv_days'; name one of exchange_bars, " in outcome.output

"""Gaps with their reasons, known gaps, tails, revisions and reconciliation, on raw tables written by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from extract.database.database import Database
from tests.support.dbt_project import (
    DAY,
    START,
    WITHOUT_ROLLUPS,
    Candle,
    DbtProject,
    DbtResult,
    candles,
    minute,
    own_project,
)
from tests.support.exchange import BTC

SEED = "dbt_project/seeds/known_gaps.csv"
HEADER = "instrument,gap_start,gap_end,reason,evidence\n"
TESTED = ("build", "--store-failures", "--exclude-resource-type", "unit_test", *WITHOUT_ROLLUPS)


@pytest.fixture(scope="module")
def warm(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    return own_project(module_database, tmp_path_factory.mktemp("dbt"))


@pytest.fixture
def project(warm: DbtProject) -> DbtProject:
    warm.start_anew()
    (warm.project / SEED).write_text(HEADER)
    return warm


def know(project: DbtProject, *entries: str) -> None:
    (project.project / SEED).write_text(HEADER + "".join(f"{entry}\n" for entry in entries))


def gaps(project: DbtProject) -> list[tuple[Any, ...]]:
    return project.query("select gap_start, gap_minutes, reason, note from quality.ohlcv_gaps order by 1")


def of(*tests: str) -> tuple[str, ...]:
    """Return the build of some tests, and of no model that they do not need."""
    return (*TESTED, "--indirect-selection", "cautious", "--select", *(f"+{test}" for test in tests))


def wrong(outcome: DbtResult) -> dict[str, str]:
    """Return what failed or warned."""
    return {name: status for name, status in outcome.statuses.items() if status in ("fail", "warn", "error")}


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def test_every_gap_has_its_reason_and_fails_the_right_test(project: DbtProject) -> None:
    holes = [(100, 112), (200, 212), (300, 301), (400, 412), (500, 512), (600, 612)]
    present = [0, *(edge for hole in holes for edge in hole), DAY]
    rows = [
        row for first, last in zip(present[::2], present[1::2], strict=True) for row in candles(first, last)
    ]
    project.land("10.5", [*rows, Candle(minute(300), open=None)])
    project.answered(minute(0), minute(300))  # the first, second and half of nothing
    project.answered(minute(97), minute(115))  # the first again, shifted
    project.answered(minute(97), minute(115), "11.5")  # which says nothing new
    project.answered(minute(203), minute(215))  # the second again, but not all of it
    project.answered(minute(300), minute(301))
    project.answered(minute(390), minute(420))  # once
    project.answered(minute(590), minute(620))
    project.answered(minute(589), minute(620))
    know(
        project,
        f"{BTC},2024-01-01 08:19:00,2024-01-01T08:32:00Z,maintenance,announced",
        f"{BTC},2024-01-01 10:00:00,2024-01-01 10:20:00,too late,it is not there",
        f"{BTC},2024-01-01 06:39:00,2024-01-01 06:40:00,,",
    )
    outcome = project.run(*TESTED)
    assert gaps(project) == [
        (minute(99), 12, "source", None),
        (minute(199), 12, "unfetched", None),
        (minute(299), 1, "rejected", None),
        (minute(399), 12, "unfetched", None),
        (minute(499), 12, "known", "maintenance"),
        (minute(599), 12, "source", None),
    ]
    assert wrong(outcome) == {
        "perpetuals_ohlcv_no_gaps": "fail",
        "perpetuals_ohlcv_no_gaps_at_the_source": "warn",
        "no_rejected_candles": "fail",
        "no_replaced_candles": "warn",
        "known_gaps_exist": "fail",
        "perpetuals_ohlcv_coverage_99": "fail",
        "perpetuals_ohlcv_coverage_100": "warn",
        # the clock of a load in 1970 that was answered in 2024
        "perpetuals_ohlcv_no_tail_gap": "warn",
    }
    stored = "select gap_start, gap_minutes from test_failures.{} order by 1"
    assert project.query(stored.format("perpetuals_ohlcv_no_gaps")) == [(minute(199), 12), (minute(399), 12)]
    at_the_source = project.query(stored.format("perpetuals_ohlcv_no_gaps_at_the_source"))
    assert at_the_source == [(minute(99), 12), (minute(599), 12)]
    assert project.query("select gap_start, problem from test_failures.known_gaps_exist order by 1") == [
        (minute(399), "not filled in"),
        (minute(600), "no such gap"),
    ]


def test_only_answers_of_loads_that_were_counted_are_evidence(project: DbtProject) -> None:
    project.land("10.5", [*candles(0, 100), *candles(112, 200)])
    project.land("11.5", [], complete=False)
    for start in (90, 91):
        project.answered(minute(start), minute(120), "11.5")
    project.build("--select", "+ohlcv_gaps")
    assert gaps(project) == [(minute(99), 12, "unfetched", None)]
    project.complete("11.5")
    assert gaps(project) == [(minute(99), 12, "unfetched", None)]
    project.build("--select", "+ohlcv_gaps")
    assert gaps(project) == [(minute(99), 12, "source", None)]


def test_tests_fail_while_the_days_are_behind_the_table(project: DbtProject) -> None:
    project.land("10.5", candles(0, 100))
    project.build()
    project.land("11.5", [*candles(200, 300), Candle(minute(300), volume=-1.0)])
    project.build("--select", "perpetuals_ohlcv")
    left_out = ("--exclude", "test_name:rollup_sanity", "--exclude-resource-type", "unit_test")
    tested = project.run("test", "--store-failures", "--select", "perpetuals_ohlcv", *left_out).statuses
    verdicts = {name: verdict for name, verdict in tested.items() if name.startswith("perpetuals_ohlcv_")}
    assert len(verdicts) == 6
    assert set(verdicts.values()) == {"fail", "warn"}
    problems = project.query("select problem from test_failures.perpetuals_ohlcv_sanity")
    assert problems == [("ohlcv_candle_days is behind the table",)]
    assert project.run(*TESTED).statuses["perpetuals_ohlcv_coverage_99"] == "fail"
    problems = project.query("select problem from test_failures.perpetuals_ohlcv_sanity")
    assert problems == [("volume_negative",)]


def test_a_table_without_findings_passes_every_test(project: DbtProject) -> None:
    now = datetime.now(START.tzinfo).replace(second=0, microsecond=0)
    recent = [Candle(now - timedelta(minutes=at)) for at in range(1, 200) if not 100 < at < 120]
    project.land(f"{now.timestamp():.1f}", recent)
    project.answered(now - timedelta(minutes=200), now, f"{now.timestamp():.1f}")
    ends = [now - timedelta(minutes=at) for at in (120, 100)]
    know(project, f"{BTC},{','.join(f'{end:%Y-%m-%d %H:%M}+00' for end in ends)},why,seen")
    outcome = project.run(*TESTED)
    assert wrong(outcome) == {}  # a young instrument, too, is not held to what is known
    assert [row[2:] for row in gaps(project)] == [("known", "why")]
    covered = project.query("select known, expected, missing, coverage_percent from quality.ohlcv_coverage")
    assert covered == [(19, 180, 0, 100)]
    tails = project.query("select tail_minutes from quality.ohlcv_coverage")
    assert tails[0][0] <= 2


@pytest.mark.parametrize(
    ("at", "entry"),
    [
        (20, f"{BTC},2024-01-01 00:19:00,2024-01-01 00:21:00,a cheap coin,seen"),
        (40, f"{BTC},2024-01-01 00:39:00,2024-01-01 00:41:00,a cheap coin,seen"),  # there is no gap around it
    ],
    ids=["in a gap", "the newest"],
)
def test_a_candle_that_does_not_fit_is_settled_by_an_entry(project: DbtProject, at: int, entry: str) -> None:
    large = candles(at, at + 1)[0]._replace(volume=12e9)
    project.land("10.5", [*(one for one in candles(0, 40) if one.timestamp != large.timestamp), large])
    project.answered(minute(0), minute(41))
    statuses = project.run(*of("no_rejected_candles")).statuses
    assert statuses["no_rejected_candles"] == "fail"
    assert project.query("select reason, volume from quality.rejected_candles") == [("too_large", 12e9)]
    know(project, entry)
    assert not {"fail", "error"} & set(wrong(project.run(*TESTED)).values())
    know(project, entry.replace("2024-01-01", "2024-01-02"))
    statuses = project.run(*of("no_rejected_candles", "known_gaps_exist")).statuses
    assert (statuses["no_rejected_candles"], statuses["known_gaps_exist"]) == ("fail", "fail")


INEXACT = """
select day, inexact, timestamp, column_name, sent_value::text, table_value::text
from quality.ohlcv_inexact order by day
"""


def test_a_value_that_the_column_cannot_hold_is_counted_and_warns(project: DbtProject) -> None:
    noisy = Candle(minute(3), volume=0.1 + 0.2, close=100.123456700000003)
    cheap = Candle(minute(4), open=2.34e-8, high=3e-8, low=2.34e-8, close=2e-8)
    nine = Candle(minute(DAY), volume=1.123456789)
    project.land("10.5", [*candles(0, 3), noisy, cheap, *candles(5, DAY), nine])
    outcome = project.run(*of("no_inexact_candles"))
    assert outcome.statuses["no_inexact_candles"] == "warn"
    assert "Got 3 results" in outcome.output
    rest = (day(1).date(), 1, minute(DAY), "volume", "1.123456789", "1.12345679")
    assert project.query(INEXACT) == [
        (day(0).date(), 2, minute(4), "low", "0.0000000234", "0.00000002"),
        rest,
    ]
    # a second version that the table rounds to the same, one that it holds, and one that cannot be used
    project.land(
        "11.5", [cheap._replace(low=2.31e-8), nine._replace(volume=1.5), Candle(minute(5), open=None)]
    )
    assert project.run(*of("no_inexact_candles")).statuses["no_inexact_candles"] == "warn"
    assert project.query(INEXACT) == [
        (day(0).date(), 2, minute(4), "open", "0.0000000234", "0.00000002"),
        (day(1).date(), 0, minute(DAY), "close", "105.00000000", None),
    ]
    project.land("12.5", [cheap._replace(open=3e-8, low=2e-8), *candles(DAY + 1, DAY + 5)])
    assert project.run(*of("no_inexact_candles")).statuses["no_inexact_candles"] == "pass"
    project.query("drop table quality.ohlcv_inexact")
    assert project.run(*of("no_inexact_candles")).statuses["no_inexact_candles"] == "pass"


def test_the_tail_is_measured_by_deribits_clock(project: DbtProject) -> None:
    project.land("10.5", candles(0, 30))
    project.query("update deribit_raw._dlt_loads set inserted_at = now()")
    project.answered(minute(0), minute(90))
    project.build("--select", "+ohlcv_coverage")
    tails = project.query(
        "select last_candle, tail_minutes, checked_at - timestamptz '2024-01-01 01:30+00'"
        " from quality.ohlcv_coverage"
    )
    assert tails[0][:2] == (minute(29), 60)
    assert timedelta(0) <= tails[0][2] < timedelta(minutes=1)


def test_models_run_before_the_seed_know_of_no_gap_and_learn_of_it_from_the_seed(
    project: DbtProject,
) -> None:
    project.land("10.5", [*candles(0, 10), *candles(20, 30)])
    project.build("--select", "+ohlcv_gaps")
    assert gaps(project) == [(minute(9), 10, "unfetched", None)]
    asked = ("test", "--select", "perpetuals_ohlcv_no_gaps", "known_gaps_exist")
    tested = project.run(*asked).statuses
    assert (tested["perpetuals_ohlcv_no_gaps"], tested["known_gaps_exist"]) == ("fail", "pass")
    know(project, f"{BTC},2024-01-01 00:09:00,2024-01-01 00:20:00,maintenance,announced")
    assert project.run("seed").success
    assert project.run(*asked).statuses["perpetuals_ohlcv_no_gaps"] == "pass"
    assert gaps(project) == [(minute(9), 10, "known", "maintenance")]
    assert project.run("seed").success
    project.build("--select", "+ohlcv_gaps")
    assert gaps(project) == [(minute(9), 10, "known", "maintenance")]


REVISIONS = """
select timestamp, old_close, new_close, old_volume, new_volume, previous_load, load_id
from quality.ohlcv_revisions order by timestamp, load_id::numeric
"""


def test_a_changed_candle_is_a_revision_once_and_reaches_the_table(project: DbtProject) -> None:
    project.land("10.5", candles(0, 400 * DAY, open=100.0)[:: DAY // 4])
    project.build("--select", "+ohlcv_revisions", "+perpetuals_ohlcv")
    assert project.query(REVISIONS) == []

    first = minute(0)
    project.land("11.5", [Candle(first, close=106.0), Candle(minute(DAY // 4)), Candle(minute(7))])
    project.land("12.5", [Candle(first, close=106.0)])
    project.build("--select", "+ohlcv_revisions", "+perpetuals_ohlcv")
    once = [(first, Decimal(105), Decimal(106), Decimal("2.5"), Decimal("2.5"), "10.5", "11.5")]
    assert project.query(REVISIONS) == once
    written = project.query("select ctid::text, xmin::text from quality.ohlcv_revisions")

    old = minute(399 * DAY)
    project.land("13.5", [Candle(old, volume=3.0), Candle(minute(DAY // 2), open=None)])
    project.build("--select", "+ohlcv_revisions", "+perpetuals_ohlcv")
    assert project.query(REVISIONS) == [
        *once,
        (old, Decimal(105), Decimal(105), Decimal("2.5"), Decimal(3), "10.5", "13.5"),
    ]
    assert project.query("select ctid::text, xmin::text from quality.ohlcv_revisions limit 1") == written
    stored = project.query(
        "select close, volume from perpetuals_ohlcv"
        f" where timestamp in ('{first}', '{old}') order by timestamp"
    )
    assert stored == [(Decimal(106), Decimal("2.5")), (Decimal(105), Decimal(3))]


def test_a_first_build_finds_the_revisions_of_all_loads(project: DbtProject) -> None:
    project.land("9.5", candles(0, 3 * DAY))
    project.land("10.5", [Candle(minute(DAY + 3), close=106.0)])
    project.land("11.5", [Candle(minute(DAY + 3), close=107.0), Candle(minute(DAY + 4))])
    project.build("--select", "+ohlcv_revisions")
    changes = [(row[1], row[2], row[5], row[6]) for row in project.query(REVISIONS)]
    assert changes == [
        (Decimal(105), Decimal(106), "9.5", "10.5"),
        (Decimal(106), Decimal(107), "10.5", "11.5"),
    ]
    project.query("drop table quality.ohlcv_revisions")
    project.build("--select", "+ohlcv_revisions")
    assert [(row[1], row[2], row[5], row[6]) for row in project.query(REVISIONS)] == changes


RECONCILED = """
select resolution, timestamp, status, differing_columns, minutes
from quality.ohlcv_reconciliation order by 1, 2
"""


def bars(resolution: str, *opens: datetime, minutes: int, **columns: Any) -> list[Candle]:
    """Return Deribit's bars of the harness's minutes."""
    return [Candle(at, resolution=resolution, **{"volume": 2.5 * minutes, **columns}) for at in opens]


def test_one_altered_minute_is_named_by_its_bucket_and_columns(project: DbtProject) -> None:
    eight = timedelta(hours=8)
    project.land("10.5", candles(0, 3 * DAY))
    project.land("11.5", bars("1D", day(0) + eight, day(1) + eight, minutes=DAY))
    project.answered(day(0), day(2), "11.5", "1D")
    assert project.run(*of("no_unreconciled_candles")).statuses["no_unreconciled_candles"] == "pass"
    places = "select ctid::text, xmin::text from quality.ohlcv_reconciliation order by timestamp"
    written = project.query(places)

    project.land("12.5", [Candle(day(1) + eight, open=99.0, high=111.0, low=89.0, close=98.0, volume=2.4)])
    assert project.run(*of("no_unreconciled_candles")).statuses["no_unreconciled_candles"] == "warn"
    assert project.query(RECONCILED) == [
        ("1D", day(0) + eight, "identical", None, DAY),
        ("1D", day(1) + eight, "different", "open,high,low,volume", DAY),
    ]
    assert project.query(places)[:1] == written[:1]

    last = day(2) + eight - timedelta(minutes=1)
    project.land("13.5", [Candle(day(1) + eight), Candle(last, close=105.00000001)])
    project.build("--select", "+ohlcv_reconciliation")
    assert project.query(RECONCILED)[1][2:4] == ("different", "close")
    project.land("14.5", [Candle(last)])
    project.build("--select", "+ohlcv_reconciliation")
    assert project.query(RECONCILED)[1][2:4] == ("identical", None)


def test_prices_that_differ_beyond_the_tables_digits_differ(project: DbtProject) -> None:
    cheap = {"open": 2.34e-8, "high": 2.34e-8, "low": 2.34e-8, "close": 2.34e-8}
    project.land("10.5", [*candles(0, 120, **cheap), *candles(120, 180)])
    wider = cheap | {"high": 2.38e-8, "low": 2e-8}
    told = [*bars("60", minute(0), minutes=60, **cheap), *bars("60", minute(60), minutes=60, **wider)]
    project.land("11.5", [*told, *bars("60", minute(120), minutes=60, close=105.00000000000001)])
    project.answered(day(0), minute(180), "11.5", "60")
    assert project.run(*of("no_unreconciled_candles")).statuses["no_unreconciled_candles"] == "warn"
    assert [row[2:4] for row in project.query(RECONCILED)] == [
        ("identical", None),
        ("different", "high,low"),
        ("identical", None),
    ]
    both = (
        "select high::text, exchange_high::text from quality.ohlcv_reconciliation where status = 'different'"
    )
    assert project.query(both) == [("0.0000000234", "0.0000000238")]


def test_what_either_side_lacks_is_named_and_only_whole_buckets_warn(project: DbtProject) -> None:
    project.land("10.5", [*candles(0, 150), *candles(180, 240)])
    project.land("11.5", bars("60", minute(60), minute(120), minute(240), minutes=60))
    project.answered(day(0) - timedelta(hours=3), minute(320), "11.5", "60")
    outcome = project.run(*of("no_unreconciled_candles"))
    assert project.query(RECONCILED) == [
        ("60", minute(0), "missing_at_deribit", None, 60),
        ("60", minute(60), "identical", None, 60),
        ("60", minute(120), "different", "volume", 30),
        ("60", minute(180), "missing_at_deribit", None, 60),
        ("60", minute(240), "missing_in_minutes", None, 0),
    ]
    assert outcome.statuses["no_unreconciled_candles"] == "warn"
    assert project.query(
        "select count(*) from quality.ohlcv_reconciliation"
        " where status <> 'identical' and minutes = expected_minutes"
    ) == [(2,)]
    project.land("12.5", [*candles(150, 180), *candles(240, 300)])
    project.land("13.5", bars("60", minute(0), minute(180), minutes=60))
    project.answered(day(0), minute(200), "13.5", "60")
    assert project.run(*of("no_unreconciled_candles")).statuses["no_unreconciled_candles"] == "pass"


@pytest.mark.long
def test_whether_fills_count_in_a_bar_does_not_matter(project: DbtProject) -> None:
    fill = Candle(minute(0), open=120.0, high=120.0, low=120.0, close=120.0, volume=0.0)
    project.land("10.5", [fill, *candles(1, 120)])
    traded = bars("60", minute(0), minutes=59)
    project.land("11.5", traded)
    project.answered(day(0), minute(60), "11.5", "60")
    project.build("--select", "+ohlcv_reconciliation")
    assert project.query(RECONCILED)[0][2:4] == ("identical", None)
    project.land("12.5", bars("60", minute(0), minutes=59, open=120.0, high=120.0))
    project.answered(day(0), minute(60), "12.5", "60")
    project.build("--select", "+ohlcv_reconciliation")
    assert project.query(RECONCILED)[0][2:4] == ("identical", None)
    project.land("13.5", bars("60", minute(0), minutes=59, open=119.0))
    project.answered(day(0), minute(60), "13.5", "60")
    project.build("--select", "+ohlcv_reconciliation")
    assert project.query(RECONCILED)[0][2:4] == ("different", "open")


def test_an_absurd_bar_stops_nothing(project: DbtProject) -> None:
    project.land("10.5", candles(0, 120))
    absurd = [*bars("60", minute(0), minutes=60, volume=1e31), *bars("60", minute(60), minutes=60)]
    project.land("11.5", absurd)
    project.answered(day(0), minute(120), "11.5", "60")
    project.build("--select", "+ohlcv_reconciliation")
    assert [row[1:3] for row in project.query(RECONCILED)] == [
        (minute(0), "missing_at_deribit"),
        (minute(60), "identical"),
    ]


def test_every_rule_is_counted_by_the_days_and_listed(project: DbtProject) -> None:
    day = 1440
    broken = {
        "high_below_low": Candle(minute(0), open=10.0, high=9.0, low=11.0, close=10.0),
        "open_outside_range": Candle(minute(day), open=120.0),
        "close_outside_range": Candle(minute(2 * day), close=120.0),
        "price_not_positive": Candle(minute(3 * day), low=0.0),
        "volume_negative": Candle(minute(4 * day), volume=-1.0),
    }
    project.land("10.5", [*broken.values()])
    project.build("--select", "+ohlcv_days", "+ohlcv_violations")
    days = "select violations from quality.ohlcv_days where candles > 0 order by day"
    assert project.query(days) == [(1,)] * len(broken)
    listed = project.query('select "timestamp", rule from quality.ohlcv_violations order by 1')
    assert listed == [(candle.timestamp, rule) for rule, candle in broken.items()]

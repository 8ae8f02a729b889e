"""raw_retention: raw candles go so long after they were built and audited, never before, and alone.

The tests follow one database through its life, in this order.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from extract.built import read_dropped
from extract.merging import CLAIMANTS, merge_loads
from tests.integration.dbt_harness import Candle, DbtProject, Outcome, candles, minute

MODELS = ("build", "--resource-type", "model", "--resource-type", "seed")
NOTHING = ("build", "--resource-type", "model", "--select", "stg_candles")
FOREVER = ("--vars", "{columnstore_merge: 30 days}")
"""Where there is a columnstore, a merged chunk would have all reasons to stay."""

KEEP = ("--vars", "{columnstore_merge: 30 days, raw_retention: 30 days}")
"""With nearly every command: dbt reads the project anew when variables change."""

AUDIT = ("test", "--select", "tag:audit")
MONTH = 30 * 1440
# loaded_days is counted whenever a command starts
UNCLAIMED = [name for name in CLAIMANTS if name != "loaded_days"]
DROPPED = ["free", "replaced"]
KEPT = [*UNCLAIMED, "gap", "killed", "mixed", "not audited", "rejected", "taken back"]
"""Why a chunk stays. Each reason has a chunk, a load and an instrument of its own."""

FIRST = {name: number * MONTH for number, name in enumerate([*DROPPED, *KEPT])}
LOADS = {name: f"{number + 100}.5" for number, name in enumerate(FIRST)}
REVISION, REJECTION = "198.5", "197.5"
TABLES = (
    *("public.perpetuals_ohlcv", "quality.ohlcv_days", "quality.ohlcv_revisions", "quality.exchange_bars"),
    *("quality.ohlcv_reconciliation", "quality.loaded_days", "quality.rejected_candles"),
)


@pytest.fixture(scope="module")
def project(warm: DbtProject) -> DbtProject:
    """A chunk for each reason, built and audited a month ago; the first has a revision and a day's candle."""
    warm.drop_everything()
    warm.create_raw_tables()
    for name, first in FIRST.items():
        warm.land(LOADS[name], candles(first, first + 10, instrument=name))
    opens, closes = minute(480 - 1440), minute(480)
    warm.land(REVISION, [Candle(minute(5), "free", close=99.0), Candle(opens, "free", "1D")])
    warm.land(REJECTION, [Candle(minute(FIRST["replaced"] + 3), "replaced", close=None)])
    warm.query(
        "create table deribit_raw._dlt_pipeline_state (_dlt_load_id varchar);"
        "insert into deribit_raw.fetches values"
        f" ('free', '1D', '{opens}', '{closes}', 1, 'ok', '{closes}', 'simulator', '{REVISION}')"
    )
    for command in (MODELS, AUDIT):
        outcome = warm.run(*command, *FOREVER)
        assert outcome.success, outcome.output
    age(warm, days=31)
    return warm


def age(project: DbtProject, days: int) -> None:
    """Let the audits have passed so long ago."""
    project.query(f"update quality.audits set passed_at = now() - interval '{days} days'")


def build(project: DbtProject, *command: str) -> Outcome:
    """Run a build that keeps raw candles for 30 days."""
    outcome = project.run(*(command or NOTHING), *KEEP)
    assert outcome.success, outcome.output
    return outcome


def audit(project: DbtProject) -> None:
    """Run the whole audit and expect that it passes."""
    outcome = project.run(*AUDIT, *KEEP)
    assert outcome.success, outcome.output


def held(project: DbtProject) -> list[str]:
    """Return the instruments that have raw candles."""
    return [
        name
        for (name,) in project.query("select distinct instrument from deribit_raw.candles")
        if name in FIRST
    ]


def checksums(project: DbtProject) -> list[Any]:
    """Return the number of rows and a hash of every table that is made of raw candles."""
    return [
        project.query(f"select count(*), md5(string_agg(t::text, ',' order by t::text)) from {name} as t")
        for name in TABLES
    ]


def test_raw_is_kept_for_ever_unless_told_otherwise(project: DbtProject) -> None:
    assert project.run(*NOTHING, *FOREVER).success
    assert sorted(held(project)) == sorted(FIRST)


def test_nothing_is_dropped_before_an_audit_passed_long_ago_and_the_newest_one_passed(
    project: DbtProject,
) -> None:
    age(project, days=29)
    build(project)
    assert sorted(held(project)) == sorted(FIRST)
    age(project, days=31)
    project.query("insert into quality.audits values ('failed', now(), null, '{}')")
    build(project)
    project.query("delete from quality.audits where invocation_id = 'failed'")
    assert sorted(held(project)) == sorted(FIRST)


@pytest.mark.parametrize(
    "lock",
    [
        pytest.param("lock table deribit_raw.candles in row exclusive mode", id="a load lands"),
        pytest.param(
            "select pg_advisory_xact_lock(hashtext('quality.consumed_loads'), hashtext('ohlcv_revisions'))",
            id="a model claims loads",
        ),
    ],
)
def test_nothing_is_dropped_while_others_are_at_work(project: DbtProject, lock: str) -> None:
    with project.holding(lock):
        build(project)
    assert sorted(held(project)) == sorted(FIRST)
    assert project.query("select count(*) from quality.dropped_raw") == [(0,)]


def test_a_chunk_stays_for_each_reason_and_what_is_dropped_changes_no_table(project: DbtProject) -> None:
    for model in UNCLAIMED:
        project.query(
            "update quality.consumed_loads set claimed_by = null"
            f" where model = '{model}' and load_id = '{LOADS[model]}'"
        )
    at, bad = minute(FIRST["gap"]), minute(FIRST["rejected"] + 100)
    project.query(
        f"""
        update quality.ohlcv_days
        set missing = tstzmultirange(tstzrange('{at}', '{at}'::timestamptz + interval '2 minutes'))
        where instrument = 'gap';
        insert into quality.rejected_candles (instrument, timestamp, resolution, reason, load_id, loaded_at)
        values ('rejected', '{bad}', '1', 'high below low', '{LOADS["rejected"]}', now());
        update quality.audits set loads = array_remove(loads, '{LOADS["not audited"]}');
        update deribit_raw._dlt_loads set status = 1 where load_id = '{LOADS["taken back"]}'
        """
    )
    project.land("999.5", candles(FIRST["killed"], FIRST["killed"] + 1, instrument="killed"), complete=False)
    project.land("199.5", candles(FIRST["mixed"] + 5, FIRST["mixed"] + 15, instrument="mixed"))
    age(project, days=29)
    build(project)  # counts that load
    age(project, days=31)
    before = checksums(project)

    said = build(project).output

    assert sorted(held(project)) == sorted(KEPT)
    assert checksums(project) == before
    noted = project.query(
        """
        select newest_load, dropped_raw.candles, min(first_at) >= range_start, max(last_at) < range_end
        from quality.dropped_raw
        inner join quality.loaded_days on load_id = newest_load
        group by newest_load, dropped_raw.candles, range_start, range_end
        order by range_start
        """
    )
    assert noted == [(REVISION, 12, True, True), (REJECTION, 11, True, True)]
    assert "dropped 12 raw candles from 2023-12-19 to before 2024-01-18" in said
    ends = datetime(2023, 12, 19, tzinfo=UTC), datetime(2024, 2, 17, tzinfo=UTC)
    assert read_dropped(project.connection) == tuple(int(end.timestamp()) * 1000 for end in ends)

    project.query(
        f"""
        update quality.ohlcv_days set missing = '{{}}' where instrument = 'gap';
        delete from quality.rejected_candles where timestamp = '{bad}';
        update deribit_raw._dlt_loads set status = 0;
        delete from deribit_raw.candles where _dlt_load_id = '999.5'
        """
    )
    build(project, *MODELS)
    assert sorted(held(project)) == ["mixed", "not audited"]
    audit(project)


def test_what_arrives_later_for_dropped_times_wins_is_counted_and_audited(project: DbtProject) -> None:
    revisions = project.query("select count(*) from quality.ohlcv_revisions where instrument = 'free'")
    project.land("300.5", [Candle(minute(4), "free", close=95.0), Candle(minute(20), "free")])
    # another machine's, that waited there: older than what was dropped
    project.land("150.5", [Candle(minute(5), "free", close=1.0), Candle(minute(25), "free")])
    build(project, *MODELS)
    closes = project.query(
        "select timestamp, close from perpetuals_ohlcv where instrument = 'free'"
        f" and timestamp in ('{minute(4)}', '{minute(5)}', '{minute(25)}') order by 1"
    )
    assert closes == [(minute(4), Decimal(95)), (minute(5), Decimal(99)), (minute(25), Decimal(105))]
    assert project.query("select candles, last_load from quality.ohlcv_days where instrument = 'free'") == [
        (12, "300.5")
    ]
    assert revisions == [(1,)]
    assert project.query("select count(*) from quality.ohlcv_revisions where instrument = 'free'") == [(1,)]
    assert merge_loads(project.connection, keep=0, worth=1) > 0
    audit(project)

    wrong = (
        "update perpetuals_ohlcv set volume = volume + %s"
        f" where instrument = 'free' and timestamp = '{minute(4)}'"
    )
    project.query(wrong % 1)
    assert project.run("test", "--select", "audit_candles", *KEEP).statuses["audit_candles"] == "fail"
    project.query(wrong % -1)


@pytest.mark.long
def test_what_cannot_be_read_again_is_refused_and_the_rest_changes_nothing(project: DbtProject) -> None:
    def reread(model: str) -> Outcome:
        return project.run("run-operation", "reread_loads", "--args", f"{{model: {model}}}", *KEEP)

    before = checksums(project)
    for model in ("exchange_bars", "loaded_days", "ohlcv_revisions"):
        refused = reread(model)
        assert not refused.success
        assert f"expected the raw candles of every load for {model}, got times without them" in refused.output
    for model in ("perpetuals_ohlcv", "rejected_candles"):
        assert reread(model).success
    build(project, *MODELS)
    assert checksums(project) == before

    project.query("alter table quality.exchange_bars rename to elsewhere")
    refused = project.run(*NOTHING, *KEEP)
    assert not refused.success
    assert "whose raw candles raw_retention dropped, got none named quality.exchange_bars" in refused.output


def test_a_retention_that_is_none_is_refused(project: DbtProject) -> None:
    refused = project.run(*NOTHING, "--vars", "{raw_retention: 30 months}")
    assert not refused.success
    assert (
        "expected raw_retention to be forever or such as 90 days, in days or weeks, got '30 months'"
        in refused.output
    )

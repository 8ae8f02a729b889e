"""quality.audits: which loads a whole audit covered, and whether it passed."""

from __future__ import annotations

import pytest

from extract.merging import CLAIMANTS, merge_loads
from tests.integration.dbt_harness import DbtProject, candles

AUDIT = ("test", "--select", "tag:audit")
PART = ("audit_candles", "audit_days")
NOTED = "select loads, passed_at is not null from quality.audits order by started_at"


@pytest.fixture(scope="module")
def built(warm: DbtProject) -> DbtProject:
    """Two loads that are built, one that came after the build and one that never was completed."""
    warm.drop_everything()
    warm.create_raw_tables()
    warm.land("9.5", candles(0, 60))
    warm.land("10.5", candles(60, 120))
    warm.build(rollups=True)
    warm.land("11.5", candles(120, 180))
    warm.land("12.5", candles(180, 240), complete=False)
    return warm


def test_only_a_whole_audit_that_passes_is_noted_as_passed_with_the_loads_that_were_built(
    built: DbtProject,
) -> None:
    part = built.run("test", "--select", *PART)
    assert {part.statuses[name] for name in PART} == {"pass"}, part.output
    assert built.query(NOTED) == []

    whole = built.run(*AUDIT)
    assert whole.success, whole.output
    assert built.query(NOTED) == [(["9.5", "10.5"], True)]

    built.query(
        "update public.perpetuals_ohlcv set volume = volume + 1 where timestamp = '2024-01-01 00:30Z'"
    )
    broken = built.run(*AUDIT)
    assert broken.statuses["audit_candles"] == "fail", broken.output
    assert built.query(NOTED) == [(["9.5", "10.5"], True), (["9.5", "10.5"], False)]


def test_a_load_that_any_model_has_not_read_as_it_is_now_is_not_covered(project: DbtProject) -> None:
    loads = [f"{number}.5" for number in range(10, 20)]
    for number, load in enumerate(loads):
        project.land(load, candles(number * 10, number * 10 + 10))
    project.build(rollups=True)
    for claimant, load in zip(CLAIMANTS, loads[: len(CLAIMANTS)], strict=True):
        project.query(
            "update quality.consumed_loads set claimed_by = null"
            f" where model = '{claimant}' and load_id = '{load}'"
        )
    behind = loads[len(CLAIMANTS)]
    project.query(
        f"update quality.consumed_loads set follows = '1' where model = 'ohlcv_days' and load_id = '{behind}'"
    )
    project.run(*AUDIT)
    counted_at_once = loads[CLAIMANTS.index("loaded_days")]
    assert project.query(NOTED) == [([counted_at_once, loads[-1]], False)]


def test_a_merged_load_counts_as_audited_only_if_all_of_it_was(project: DbtProject) -> None:
    for number in range(10, 14):
        project.land(f"{number}.5", candles(number * 10, number * 10 + number))
    project.build(rollups=True)
    project.query("""
        create table deribit_raw._dlt_pipeline_state (_dlt_load_id varchar);
        insert into quality.audits (invocation_id, started_at, passed_at, loads) values
            ('all', '2024-01-01', '2024-01-01', '{9.5,10.5,11.5,12.5,13.5}'),
            ('some', '2024-01-02', '2024-01-02', '{9.5,11.5,13.5}')
    """)
    assert merge_loads(project.connection, keep=0, worth=1) == 3
    assert project.query("select invocation_id, loads from quality.audits order by 1") == [
        ("all", ["9.5", "13.5"]),
        ("some", ["9.5"]),
    ]

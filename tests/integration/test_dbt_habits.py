"""What a dbt engineer does first, with plain dbt and the project as it is shipped."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests.support.dbt_project import DAY, Candle, DbtProject, candles, minute, own_project
from tests.support.perps import FOREIGN, expect, run_program

DBT = "from dbt.cli.main import cli; cli()"
KEY = " constraints: [{type: primary_key, columns: [timestamp, instrument]}],"


@pytest.fixture(scope="module")
def built(warm: DbtProject) -> DbtProject:
    """Two days, built without tests."""
    warm.start_anew()
    warm.land("10.5", [*candles(0, 2 * DAY), Candle(minute(60), resolution="60")])
    warm.build(rollups=True)
    return warm


def test_what_needs_no_server_runs_where_no_variable_is_set(warm: DbtProject) -> None:
    command = ("ls", "--resource-type", "model")  # it parses, too
    nowhere = {name: value for name, value in os.environ.items() if name not in FOREIGN and name[:2] != "PG"}
    done = run_program([sys.executable, "-c", DBT, *warm.arguments(*command)], nowhere, warm.work)
    assert "deribit_perps.marts.perpetuals_ohlcv" in expect(done)


@pytest.mark.parametrize(
    ("command", "selection"), [("build", ()), ("test", ("--select", "+perpetuals_ohlcv+"))]
)
def test_no_audit_runs_that_nobody_asked_for(
    built: DbtProject, command: str, selection: tuple[str, ...]
) -> None:
    outcome = built.run(command, "--exclude-resource-type", "unit_test", *selection)
    names = set(outcome.statuses)
    assert {"candles_match_days", "perpetuals_ohlcv_no_gaps", "perpetuals_ohlcv_5m_sanity"} <= names
    assert not [name for name in names if name.startswith("audit_")]
    assert built.query("select to_regnamespace('test_failures')") == [(None,)]


def test_freshness_looks_at_the_newest_answered_window(built: DbtProject) -> None:
    assert built.run("source", "freshness").statuses == {"fetches": "error"}
    now = [
        ("now() - interval '2 hours'", 1, "1"),  # the newest minute that came
        ("now()", 0, "1"),  # an answer without one
        ("now()", 1, "60"),  # a bar
    ]
    for end, rows, resolution in now:
        built.query(
            "insert into deribit_raw.fetches (window_end, rows, resolution)"
            f" values ({end}, {rows}, '{resolution}')"
        )
    assert built.run("source", "freshness").statuses == {"fetches": "warn"}
    built.query("delete from deribit_raw.fetches where instrument is null")


def test_show_has_rows_and_compile_gives_sql_that_runs(built: DbtProject) -> None:
    shown = built.run("show", "--select", "perpetuals_ohlcv", "--limit", "3")
    assert shown.success, shown.output
    assert "BTC-PERPETUAL" in shown.output
    stored = {"perpetuals_ohlcv": "public", "perpetuals_ohlcv_1h": "public", "ohlcv_candle_days": "quality"}
    assert built.run("compile", "--select", *stored).success
    found = {path.stem: path.read_text() for path in (built.work / "target/compiled").rglob("*.sql")}
    for model, schema in stored.items():
        both = f"({found[model]}) except select * from {schema}.{model}"
        assert built.query(both) == [], model
        assert len(built.query(found[model])) == built.query(f"select count(*) from {schema}.{model}")[0][0]


def test_a_new_model_on_the_candles_is_one_sql_and_one_yml(built: DbtProject, tmp_path: Path) -> None:
    """No list to add its name to: it is built by ranges, follows its upstream and is read again with it."""
    project = own_project(built.database, tmp_path)
    folder = project.project / "dbt_project/models/marts"
    (folder / "closes.sql").write_text(
        "{{ config(materialized='hypertable') }}\n"
        "select timestamp, instrument, close from {{ ref('perpetuals_ohlcv') }} where {{ in_range() }}\n"
    )
    described = (
        "models: [{name: closes, description: Closes., config: {contract: {enforced: true}},"
        + KEY
        + " columns: [{name: timestamp, data_type: timestamptz, description: At.},"
        " {name: instrument, data_type: text, description: Of.},"
        " {name: close, data_type: 'numeric(18,8)', description: Last.}]}]"
    )
    (folder / "closes.yml").write_text(described.replace(KEY, ""))
    refused = project.run("run", "--select", "closes").output
    assert "closes has no primary key in its .yml" in refused
    (folder / "closes.yml").write_text(described)
    project.build("--select", "closes")
    same = "select count(*) from closes natural join perpetuals_ohlcv"
    assert project.query(same) == [(2 * DAY,)]
    project.land("20.5", [Candle(minute(7), close=99.0), Candle(minute(2 * DAY))])
    project.build("--select", "perpetuals_ohlcv", "closes")
    assert project.query(same) == [(2 * DAY + 1,)]
    said = project.reread("perpetuals_ohlcv").output
    assert re.search(r"public\.closes\b.* will read all loads again", said)
    project.query("drop table closes")

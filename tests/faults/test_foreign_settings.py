"""Settings of dlt's and dbt's that were made for something else: none reaches a run."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from extract.database.database import Database
from extract.simulator import RunningSimulator, SimulatorConfig, running
from tests.support.perps import PROJECT, perps_command, perps_environment
from tests.support.truth import control, rows, table, truth

BTC, START = "BTC-PERPETUAL", "2024-01-01T00:00:00Z"

OF_DLT = {
    "REFRESH": "drop_sources",
    "DEV_MODE": "true",
    "FULL_REFRESH": "true",
    "WORKERS": "4",
    "WRITE_DISPOSITION": "replace",
    "DATASET_NAME": "elsewhere",
    "SCHEMA__NAMING": "direct",
    "EXTRACT__MAX_PARALLEL_ITEMS": "1",
    "SOURCES__MAX_TABLE_NESTING": "0",
    "NORMALIZE__LOADER_FILE_FORMAT": "csv",
    "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID": "false",
    "LOAD__RAISE_ON_FAILED_JOBS": "false",
    "LOAD__TRUNCATE_STAGING_DATASET": "true",
    "LOAD__DELETE_COMPLETED_JOBS": "true",
    "DESTINATION__POSTGRES__CREATE_INDEXES": "true",
    "DESTINATION__POSTGRES__CREDENTIALS": "postgresql://other:none@127.0.0.1:9/other",
    "DESTINATION__REPLACE_STRATEGY": "staging-optimized",
    "RESTORE_FROM_DESTINATION": "false",
    "ENABLE_RUNTIME_TRACE": "true",
    "USE_SINGLE_DATASET": "false",
    "PIPELINES_DIR": "/nowhere",
    "PROGRESS": "log",
    "RUNTIME__LOG_LEVEL": "DEBUG",
    "RUNTIME__LOG_FORMAT": "JSON",
    "RUNTIME__SENTRY_DSN": "http://a@127.0.0.1:9/1",
    "DATA_WRITER__FILE_MAX_ITEMS": "1",
    "DLT_DATA_DIR": "/nowhere",
    "DLT_PROJECT_DIR": "/nowhere",
    "DLT_CONFIG_FOLDER": "elsewhere",
    "DLT_DEFAULT_NAMING_MODULE": "direct",
    "DLT_USE_JSON": "simplejson",
    "DLT_ALLOW_EXTERNAL_SCHEDULERS": "True",
    "DLT_INTERVAL_START": "2020-01-01T00:00:00Z",
    "DLT_INTERVAL_END": "2020-01-02T00:00:00Z",
}
OF_DBT = {
    "DBT_TARGET": "dev",
    "DBT_PROFILE": "other",
    "DBT_PROJECT_DIR": "/nowhere",
    "DBT_PROFILES_DIR": "/nowhere",
    "DBT_FULL_REFRESH": "true",
    "DBT_EMPTY": "true",
    "DBT_EXCLUDE": "perpetuals_ohlcv",
    "DBT_EXCLUDE_RESOURCE_TYPES": "model test",
    "DBT_VARS": "{base_resolution: '60'}",
    "DBT_ENGINE_EMPTY": "true",
    "DBT_WARN_ERROR": "true",
    "DBT_STORE_FAILURES": "true",
    "DBT_DEFER": "true",
    "DBT_STATE": "/nowhere",
    "DBT_SAMPLE": "1 hour",
    "DBT_INTROSPECT": "false",
}
CONFIG = """
refresh = "drop_sources"
dev_mode = true
[schema]
naming = "direct"
[normalize]
loader_file_format = "csv"
[deribit]
dataset_name = "elsewhere"
"""
SCHEMAS = """
select nspname from pg_namespace
where nspname !~ '^(pg_|_?timescaledb|information_schema)'
order by 1
"""


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningSimulator]:
    with running(SimulatorConfig(clock="2024-01-01T06:00:30Z", requests_per_second=None)) as simulated:
        yield simulated


def test_a_checkout_is_only_read(database: Database, environment: dict[str, str], tmp_path: Path) -> None:
    """Another user's, or one on a read-only disk: what dbt writes goes to PERPS_HOME."""

    def written() -> dict[Path, int]:
        files = (path for name in ("target", "logs") for path in (PROJECT / name).rglob("*"))
        return {path: path.stat().st_mtime_ns for path in files if path.name != "faults.jsonl"}

    plain = {name: value for name, value in environment.items() if not name.startswith("DBT_")}
    before = written()
    done = subprocess.run(
        perps_command("dbt", "--", "--quiet", "parse"),
        env=perps_environment(plain, database, env={"PERPS_HOME": str(tmp_path / "home")}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert written() == before
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {
        f"home/dbt/{name}" for name in ("profiles.yml", "logs/dbt.log", "target/partial_parse.msgpack")
    } <= made
    assert all(name.startswith(("home/dbt/", "home/logs/perps.log")) for name in made)


@pytest.fixture(params=["variables", "files", "broken files"])
def surroundings(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[str, str], Path]:
    """Variables and a current folder, full of what is meant for others."""
    here, home = tmp_path / "here", tmp_path / "home"
    if request.param == "variables":
        here.mkdir()
        return OF_DLT | OF_DBT, here
    for folder in (here / ".dlt", home / ".dlt", home / ".dbt", home / "dlt"):
        folder.mkdir(parents=True)
        for name in ("config.toml", "secrets.toml", "dev.config.toml", "profiles.yml", ".workspace"):
            (folder / name).write_text(CONFIG if request.param == "files" else "this is = not [toml")
    return {"HOME": str(home), "XDG_DATA_HOME": str(home)}, here


def test_settings_of_others_change_nothing(
    surroundings: tuple[dict[str, str], Path],
    database: Database,
    exchange: RunningSimulator,
    environment: dict[str, str],
) -> None:
    variables, here = surroundings

    def perps(*arguments: str) -> str:
        done = subprocess.run(
            perps_command(*arguments),
            env=perps_environment(environment | variables, database, exchange.base_url),
            cwd=here,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    control(exchange.base_url, "clock", {"now": "2024-01-01T06:00:30Z"})
    perps("backfill", "--instruments", BTC, "--start", START)
    control(exchange.base_url, "clock", {"now": "2024-01-01T07:00:30Z"})
    assert f"{BTC}: 60 candles landed" in perps("update")
    perps("dbt", "--", "build", "--exclude-resource-type", "unit_test")
    assert table(database) == truth(exchange.base_url, BTC, START, "2024-01-01T07:00:00Z")
    assert rows(database, "select count(*) from deribit_raw.candles") == [(7 * 60,)]
    made = [("deribit_raw",), ("public",), ("quality",), ("staging",)]
    assert rows(database, SCHEMAS) == made
    assert rows(database, "select count(*) from pg_indexes where indexdef like '%unique%_dlt_id%'") == [(0,)]
    assert [path.name for path in here.iterdir() if path.name != ".dlt"] == []

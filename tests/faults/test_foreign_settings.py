"""Settings of dlt's and dbt's that were made for something else: none reaches a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from extract.database.database import Database
from extract.simulator import RunningSimulator
from tests.support.exchange import BTC, set_clock
from tests.support.foreign import OF_DBT, OF_DLT
from tests.support.perps import PROJECT, expect, perps_command, perps_environment, run_program
from tests.support.truth import rows, table, truth

START = "2024-01-01T00:00:00Z"
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
BUILD = ("build", "--exclude-resource-type", "unit_test")
MODELS = ("run", "--select", "+perpetuals_ohlcv")
SCHEMAS = """
select nspname from pg_namespace
where nspname !~ '^(pg_|_?timescaledb|information_schema)'
order by 1
"""


def test_a_checkout_is_only_read(database: Database, environment: dict[str, str], tmp_path: Path) -> None:
    """Another user's, or one on a read-only disk: what dbt writes goes to PERPS_HOME."""

    def written() -> dict[Path, int]:
        files = (path for name in ("target", "logs") for path in (PROJECT / name).rglob("*"))
        own = ("faults.jsonl", "coverage")  # the suite's
        return {path: path.stat().st_mtime_ns for path in files if not path.name.startswith(own)}

    plain = {name: value for name, value in environment.items() if not name.startswith("DBT_")}
    before = written()
    env = perps_environment(plain, database, env={"PERPS_HOME": str(tmp_path / "home")})
    done = run_program(perps_command("dbt", "--", "--quiet", "parse"), env, tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert written() == before
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {
        f"home/dbt/{name}" for name in ("profiles.yml", "logs/dbt.log", "target/partial_parse.msgpack")
    } <= made
    assert all(name.startswith(("home/dbt/", "home/logs/perps.log")) for name in made)


@pytest.fixture(params=["variables", "files", "broken files"])
def surroundings(
    request: pytest.FixtureRequest, tmp_path: Path
) -> tuple[dict[str, str], Path, tuple[str, ...]]:
    """Variables and a current folder, full of what is meant for others; and a dbt command that would obey."""
    here, home = tmp_path / "here", tmp_path / "home"
    if request.param == "variables":
        here.mkdir()
        return OF_DLT | OF_DBT, here, BUILD
    for folder in (here / ".dlt", home / ".dlt", home / ".dbt", home / "dlt"):
        folder.mkdir(parents=True)
        for name in ("config.toml", "secrets.toml", "dev.config.toml", "profiles.yml", ".workspace"):
            (folder / name).write_text(CONFIG if request.param == "files" else "this is = not [toml")
    return {"HOME": str(home), "XDG_DATA_HOME": str(home)}, here, MODELS


def test_settings_of_others_change_nothing(
    surroundings: tuple[dict[str, str], Path, tuple[str, ...]],
    database: Database,
    exchange: RunningSimulator,
    environment: dict[str, str],
) -> None:
    variables, here, build = surroundings

    def perps(*arguments: str) -> str:
        env = perps_environment(environment | variables, database, exchange.base_url)
        return expect(run_program(perps_command(*arguments), env, here))

    set_clock(exchange, "2024-01-01T06:00:30Z")
    perps("backfill", "--instruments", BTC, "--start", START)
    set_clock(exchange, "2024-01-01T07:00:30Z")
    assert f"{BTC}: 60 candles, 1 funding rate" in perps("update")
    perps("dbt", "--", *build)
    assert table(database) == truth(exchange.base_url, BTC, START, "2024-01-01T07:00:00Z")
    assert rows(database, "select count(*) from deribit_raw.candles") == [(7 * 60,)]
    made = [("deribit_raw",), ("public",), ("quality",), ("staging",)]
    assert rows(database, SCHEMAS) == made
    assert rows(database, "select count(*) from pg_indexes where indexdef like '%unique%_dlt_id%'") == [(0,)]
    assert [path.name for path in here.iterdir() if path.name != ".dlt"] == []

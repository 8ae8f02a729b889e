"""What docker/ makes of a server, without an engine: roles, queries of Grafana and of people, the command.

The server is one of its own, prepared as the container's is: by its superuser, with the files that
the compose file mounts.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest

from extract.embedded.cluster import Cluster
from extract.simulator import RunningSimulator
from extract.simulator.faultparsing import parse_faults
from tests.integration.conftest import BUILD
from tests.support.docker_stack import OWNER_PASSWORD, ROLES, Stack, administer, asked, prepared
from tests.support.exchange import BTC, ETH, set_clock
from tests.support.grafana import Shown, dashboards, filled, queries
from tests.support.perps import PROJECT, Perps, expect, perps_command, perps_environment
from tests.support.query_truth import ANSWERS, Minutes, bars, minutes_of
from tests.support.truth import execute, rows, truth_rows
from tests.support.waiting import wait_until
from tests.unit.docker.test_docker_files import DEFAULT, SERVICES

START = datetime(2025, 9, 29, tzinfo=UTC)
END = datetime(2025, 10, 2, 8, tzinfo=UTC)
OUTAGE = {"kind": "outage", "instrument": BTC, "start": "2025-09-29T12:10:00Z", "end": "2025-09-29T12:30:00Z"}
REVISION = {
    "kind": "revision",
    "instrument": BTC,
    "at": "2025-10-01T05:20:00Z",
    "since": "2025-10-02T08:00:40Z",
    "values": {"volume": 321.5},
}
EXCHANGE = {"clock": "2025-10-02T08:00:30Z", "faults": tuple(parse_faults([OUTAGE, REVISION]))}
BACKFILL = ("backfill", "--instruments", f"{BTC},{ETH}")
WHOLE = ("--start", "2025-09-29")
AGAIN = ("--start", "2025-10-01T05:00", "--end", "2025-10-01T06:00")
DAY = timedelta(days=1)
QUERIES = sorted((PROJECT / "dbt_project" / "queries").glob("*.sql"))
BOARDS = dashboards()
TYPES_OF_GRAFANA = {  # those that its documentation names, as far as they are of use here
    *("integer", "bigint", "numeric", "double precision", "text", "character varying"),
    "timestamp with time zone",
}
PANELS = [(board, title) for board, content in BOARDS.items() for title in queries(content)]


@pytest.fixture(scope="module")
def stack(home: Path, cache: Path) -> Iterator[Stack]:
    cluster = Cluster(home / "docker", cache)
    cluster.start()
    yield prepared(cluster)
    cluster.destroy()


@pytest.fixture(scope="module")
def built(stack: Stack, exchange: RunningSimulator, perps: Perps) -> Stack:
    """The stack with the whole history loaded and built, by the role that is no superuser.

    One candle is revised after it was loaded, and loaded again.
    """
    for clock, times in (("2025-10-02T08:00:30Z", WHOLE), ("2025-10-02T08:00:50Z", AGAIN)):
        set_clock(exchange, clock)
        expect(perps(*BACKFILL, *times, database=stack.owner, api=exchange.base_url))
    expect(perps(*BUILD, database=stack.owner))
    return stack


@pytest.fixture(scope="module")
def market(built: Stack, exchange: RunningSimulator) -> Minutes:
    """What the exchange says once everything is loaded."""
    return minutes_of(exchange, START, END)


def test_the_container_makes_the_roles_and_grants_that_the_embedded_server_does(stack):
    assert {row[0] for row in stack.embedded} == {"role", "database", "schema", "default", "function"}
    assert stack.prepared == stack.embedded


def test_roles_sql_without_a_password_names_it_and_leaves_nothing(stack):
    assert stack.refused.returncode != 0
    assert "PERPS_PASSWORD" in stack.refused.stderr
    assert stack.left_by_refused == [("plpgsql",)]


@pytest.mark.parametrize("path", QUERIES[:9], ids=lambda path: path.stem)
def test_a_query_that_people_write_answers_the_truth_to_the_reader(path, built, market):
    _, answer = asked(built.reader, path.read_text())
    expected = ANSWERS[path.stem](market)
    assert expected
    answered = [row[: len(expected[0])] for row in answer if None not in row[: len(expected[0])]]
    assert answered == list(expected)


def test_there_are_two_versions_of_a_candle_to_choose_from(built):
    versions = "select volume from deribit_raw.candles where instrument = %s and timestamp = %s order by 1"
    found = rows(built.reader, versions, BTC, REVISION["at"])
    assert len(found) == 2
    assert found[1] == (321.5,)


def test_a_gap_is_listed_with_its_reason(built):
    [gap] = rows(built.reader, QUERIES[5].read_text())
    assert gap[3:5] == (20, "source")
    assert gap[6] is not None


def test_storage_adds_up_to_the_relations_of_the_database(built, market):
    answer = {row[0]: row[1:] for row in rows(built.reader, QUERIES[9].read_text())}
    hypertables = {name for name, row in answer.items() if row[0]}
    assert hypertables >= {"public.perpetuals_ohlcv", "deribit_raw.candles"}
    assert answer["quality.watermarks"][0] is False
    of_tables = rows(
        built.superuser,
        "select sum(pg_total_relation_size(oid)) from pg_class where relkind = 'r' and ("
        " relnamespace::regnamespace::text in ('public', 'deribit_raw', 'quality')"
        " or relnamespace = '_timescaledb_internal'::regnamespace"
        " and relname ~ '^(_hyper|compress_hyper)_')",
    )[0][0]
    assert sum(row[1] for row in answer.values()) == of_tables
    candles = answer["public.perpetuals_ohlcv"]
    assert candles[3] == pytest.approx(sum(map(len, market.values())), rel=0.2)


def shown(board: str) -> Shown:
    if board == "health":
        now = datetime.now(UTC)
        return Shown(START, now + timedelta(minutes=1), "1h", {"instruments": [BTC, ETH]})
    return Shown(END - DAY, END, "2m", {"instrument": BTC, "resolution": "15m"})


@pytest.mark.parametrize(("board", "title"), PANELS)
def test_a_panel_has_rows_for_grafana_in_the_order_of_time(board, title, built):
    content = BOARDS[board]
    sql = queries(content)[title]
    columns, found = asked(built.reader, filled(sql, shown(board)))
    assert found
    assert set(columns.values()) <= TYPES_OF_GRAFANA
    names = list(columns)
    formats = {panel["title"]: panel["targets"][0]["format"] for panel in content["panels"]}
    if formats.get(title) == "time_series":
        times = [row[names.index("time")] for row in found]
        assert times == sorted(times)
        assert all(name == "metric" or isinstance(found[-1][names.index(name)], float) for name in names[1:])


@pytest.mark.parametrize(("resolution", "width"), [("15m", 15), ("4h", 240), ("2d", 2880)])
def test_the_bars_of_the_market_are_the_truth_and_the_first_is_whole(resolution, width, built, market):
    [sql] = (sql for title, sql in queries(BOARDS["market"]).items() if "$resolution" in title)
    start = datetime(2025, 9, 30, 9, 41, tzinfo=UTC)
    seen = Shown(start, END, "2m", {"instrument": BTC, "resolution": resolution})
    _, answer = asked(built.reader, filled(sql, seen))
    length = timedelta(minutes=width)
    whole = [bar for bar in bars(market[BTC], length) if bar[0] + length > start]
    assert [row[0] for row in answer] == [bar[0] for bar in whole]
    for row, bar in zip(answer, whole, strict=True):
        assert row[1:] == pytest.approx([float(value) for value in bar[1:6]])


def test_the_funding_of_a_day_is_the_mean_of_the_true_hours_that_end_in_it(built, exchange):
    days: dict[datetime, list[float]] = {}
    for row in truth_rows(exchange.base_url, "funding", BTC):
        ends_at = datetime.fromtimestamp(row["timestamp"] / 1000, UTC)
        if START < ends_at <= END:
            day = (ends_at - timedelta(hours=1)).replace(hour=0)
            days.setdefault(day, []).append(row["interest_1h"])
    sql = queries(BOARDS["market"])["Daily funding, annualised"]
    _, answer = asked(built.reader, filled(sql, Shown(START, END, "2m", {"instrument": BTC})))
    assert [len(rates) for rates in days.values()] == [24, 24, 24, 8]
    assert [time for time, _ in answer] == list(days)
    assert [rate for _, rate in answer] == pytest.approx(
        [8760 * sum(rates) / len(rates) for rates in days.values()]
    )


def test_the_coverage_of_funding_and_settlements_is_whole(built):
    sql = queries(BOARDS["health"])["Coverage of funding and settlements"]
    _, answer = asked(built.reader, filled(sql, shown("health")))
    assert [(row[0], row[1], row[5], row[6]) for row in answer] == [
        (instrument, covers, 0, 100.0) for instrument in (BTC, ETH) for covers in ("funding", "settlements")
    ]


def test_the_calendar_shows_the_day_with_the_outage(built):
    sql = queries(BOARDS["health"])["Coverage calendar"]
    _, answer = asked(built.reader, filled(sql, shown("health")))
    incomplete = [row for row in answer if row[2] < 100]
    assert incomplete == [(START, BTC, 98.61)]
    assert len(answer) == 8


def test_the_reader_cannot_write_through_grafana(built):
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        rows(built.reader, "delete from perpetuals_ohlcv")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        execute(built.reader, "set default_transaction_read_only = off", "delete from perpetuals_ohlcv")


def test_roles_sql_run_again_lets_the_reader_read_what_was_made_before(built):
    count = "select (select count(*) from perpetuals_ohlcv) - (select sum(candles) from quality.ohlcv_days)"
    for what in ("schema quality", "all tables in schema quality", "perpetuals_ohlcv"):
        execute(built.owner, f"revoke all on {what} from perps_reader")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        rows(built.reader, count)
    assert administer(built.psql, built.superuser, ROLES, PERPS_PASSWORD="another").returncode == 0
    assert rows(built.reader, count) == [(0,)]
    assert rows(built.owner, "select 1") == [(1,)], "the password is the first one"


@pytest.mark.long  # perps run in a process of its own, with a build, a repair and a report
def test_the_command_of_the_container_runs_as_a_role_that_is_no_superuser(
    built: Stack, exchange: RunningSimulator, environment: dict[str, str], tmp_path: Path
):
    set_clock(exchange, "2025-10-02T09:00:30Z")
    typed = [DEFAULT.sub(r"\1", word) for word in SERVICES["perps"]["command"][1:]]
    typed = [word.replace("/var/lib/perps", str(tmp_path)).replace("0.0.0.0:9464", "0") for word in typed]
    variables = perps_environment(environment, built.owner, exchange.base_url, {"PERPS_HOME": str(tmp_path)})
    page = tmp_path / "reports" / "report.html"
    with (tmp_path / "said").open("w") as told:
        run = subprocess.Popen(perps_command(*typed), env=variables, stdout=told, stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: page.exists() or run.poll() is not None, "a report", 200)
        finally:
            run.send_signal(signal.SIGTERM)
            code = run.wait(60)
    said = (tmp_path / "said").read_text()
    assert (code, "error: " in said) == (143, False), said
    assert OWNER_PASSWORD not in said
    assert rows(built.reader, "select max(timestamp) from perpetuals_ohlcv") == [
        (END + timedelta(minutes=59),)
    ]
    assert page.is_file()

"""`deribit_perpetuals` in pipelines of a dlt user: what lands, once, and what happens when Deribit fails."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import dlt
import pytest
from dlt.extract import DltSource
from dlt.pipeline.exceptions import PipelineStepFailed

from extract import UsageError, deribit_perpetuals
from extract.core.times import parse_time
from extract.database.database import Database
from extract.load.endpoint import FUNDING, SETTLEMENTS
from extract.simulator import RunningSimulator, SimulatorConfig, running
from tests.support.truth import control, look, truth, truth_rows

BTC, ETH = "BTC-PERPETUAL", "ETH-PERPETUAL"
START, NOW, LATER = "2024-01-20", "2024-01-31T00:00:30Z", "2024-01-31T01:00:30Z"
FIRST_DAYS = 11 * 1440
AT = 1_706_659_200_000 - 5 * 60_000
"""A minute before NOW, in the look-back."""
REVISED = {"kind": "revision", "instrument": BTC, "at": AT, "values": {"close": 123.5}, "since": LATER}
PLACES = ("duckdb", "postgres")


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningSimulator]:
    with running(SimulatorConfig(clock=NOW, requests_per_second=None)) as simulated:
        yield simulated


@pytest.fixture(autouse=True)
def calm(exchange: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control(exchange.base_url, "clock", {"now": NOW})
    control(exchange.base_url, "faults", [])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DERIBIT_API_URL", exchange.base_url)
    monkeypatch.setenv("DERIBIT_REQUESTS_PER_SECOND", "1000")


@pytest.fixture
def pipeline(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dlt.Pipeline]:
    """A user's pipeline into duckdb, or into what the parameter says."""
    if getattr(request, "param", "duckdb") == "duckdb":
        destination = dlt.destinations.duckdb(str(tmp_path / "candles.duckdb"))
    else:
        database: Database = request.getfixturevalue("database")
        destination = dlt.destinations.postgres(database.url())
    made = dlt.pipeline(
        "user", destination=destination, dataset_name="market", pipelines_dir=str(tmp_path / "pipelines")
    )
    yield made
    made.deactivate()


def landed(pipeline: dlt.Pipeline, instrument: str = BTC) -> list[tuple]:
    """Return the candles of an instrument in the destination: epoch ms and close, in order."""
    with pipeline.sql_client() as client:
        return client.execute_sql(
            "select cast(extract(epoch from timestamp) * 1000 as bigint), close from candles"
            " where instrument = %s order by 1",
            instrument,
        )


def true(exchange: RunningSimulator, start: str, end: str, instrument: str = BTC) -> list[tuple]:
    return [(row[0], float(row[5])) for row in truth(exchange.base_url, instrument, start, end)]


def charts(exchange: RunningSimulator) -> int:
    return sum(one["method"] == "get_tradingview_chart_data" for one in look(exchange.base_url, "requests"))


@pytest.mark.parametrize("loader_format", [None, "parquet"])
@pytest.mark.parametrize("pipeline", PLACES, indirect=True)
def test_a_second_run_lands_what_is_new_and_what_was_revised_and_no_candle_twice(
    pipeline, exchange, loader_format
):
    pipeline.run(deribit_perpetuals([BTC, ETH], start=START), loader_file_format=loader_format)
    assert landed(pipeline) == true(exchange, START, NOW)
    assert len(landed(pipeline, ETH)) == FIRST_DAYS
    control(exchange.base_url, "faults", [REVISED])
    control(exchange.base_url, "clock", {"now": LATER})
    asked = charts(exchange)
    pipeline.run(deribit_perpetuals([BTC, ETH], start=START), loader_file_format=loader_format)
    expected = dict(true(exchange, START, LATER)) | {AT: 123.5}
    assert landed(pipeline) == sorted(expected.items())
    assert len(landed(pipeline, ETH)) == FIRST_DAYS + 60
    assert charts(exchange) == asked + 2
    assert pipeline.last_trace.last_normalize_info.row_counts["candles"] == 2 * (60 + 11)


@pytest.mark.parametrize("pipeline", PLACES, indirect=True)
def test_funding_and_settlements_land_beside_the_candles_once(pipeline, exchange):
    for now in (NOW, NOW, LATER):
        control(exchange.base_url, "clock", {"now": now})
        pipeline.run(deribit_perpetuals([BTC, ETH], start=START))
    start_ms = parse_time(START, "start")
    for endpoint in (FUNDING, SETTLEMENTS):
        told = [
            (row["timestamp"], *(row[name] for name in endpoint.values))
            for row in truth_rows(exchange.base_url, endpoint.table, BTC, start_ms)
        ]
        with pipeline.sql_client() as client:
            found = client.execute_sql(
                f"select cast(extract(epoch from timestamp) * 1000 as bigint), {', '.join(endpoint.values)}"
                f" from {endpoint.table} where instrument = %s order by 1",
                BTC,
            )
        assert found == told
        assert len(found) > 10


def test_only_what_is_named_is_a_resource():
    source = deribit_perpetuals([BTC, ETH], only="funding,settlements")
    assert set(source.resources) == {
        *(f"funding {name} 60" for name in (BTC, ETH)),
        *(f"settlements {name} 1D" for name in (BTC, ETH)),
        "instruments",
    }


@pytest.mark.parametrize("pipeline", PLACES, indirect=True)
def test_its_columns_are_typed_and_its_contract_is_frozen(pipeline):
    source = deribit_perpetuals(BTC, start="2024-01-30")
    pipeline.run(source)
    with pipeline.sql_client() as client:
        types = client.execute_sql(
            "select column_name, lower(data_type), is_nullable from information_schema.columns"
            " where table_schema = 'market' and table_name = 'candles' order by ordinal_position"
        )
    double = "double" if "duckdb" in pipeline.destination.destination_type else "double precision"
    assert [name for name, _, _ in types] == [
        *("instrument", "resolution", "timestamp"),
        *("open", "high", "low", "close", "volume", "cost"),
    ]
    assert [kind for _, kind, _ in types[2:]] == ["timestamp with time zone", *[double] * 6]
    assert [nullable for _, _, nullable in types[:3]] == ["NO"] * 3
    assert source.schema_contract == {"tables": "evolve", "columns": "freeze", "data_type": "freeze"}


def test_the_command_line_of_dlt_knows_the_pipeline(pipeline, tmp_path):
    pipeline.run(deribit_perpetuals(BTC, start="2024-01-30"))
    dlt_command = Path(sys.executable).parent / "dlt"
    told = subprocess.run(
        [dlt_command, "pipeline", "--pipelines-dir", tmp_path / "pipelines", "user", "info"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    assert "Resources in schema: deribit_perpetuals" in told
    assert "candles BTC-PERPETUAL 1 with 1 table(s) and 1 resource state slot(s)" in told
    assert "candles: 1440 row(s)" in str(pipeline.last_trace)


def test_a_window_without_an_answer_ends_its_stream_alone_and_the_next_run_goes_on(
    pipeline, exchange, caplog
):
    bad = {"kind": "http", "status": 400, "start": "2024-01-27", "end": "2024-01-28", "instrument": BTC}
    bad["method"] = "get_tradingview_chart_data"
    control(exchange.base_url, "faults", [bad])
    pipeline.run(deribit_perpetuals([BTC, ETH], start=START))
    before = landed(pipeline)
    assert before == true(exchange, START, NOW)[: len(before)]
    assert 0 < len(before) <= 7 * 1440
    assert landed(pipeline, ETH) == true(exchange, START, NOW, ETH)
    failed = pipeline.state["sources"]["deribit_perpetuals"]["failed"]
    assert list(failed) == ["candles BTC-PERPETUAL 1"]
    assert "BTC-PERPETUAL 2024-01-2" in failed["candles BTC-PERPETUAL 1"]
    assert "the next run fetches it again" in caplog.text
    control(exchange.base_url, "faults", [])
    pipeline.run(deribit_perpetuals([BTC, ETH], start=START))
    assert landed(pipeline) == true(exchange, START, NOW)
    assert pipeline.state["sources"]["deribit_perpetuals"]["failed"] == {}


def test_an_api_that_is_gone_fails_the_extract_and_the_next_run_asks_again(pipeline, exchange):
    source = deribit_perpetuals(BTC, start="2024-01-30")
    pipeline.run(source)
    control(exchange.base_url, "clock", {"now": LATER})
    control(exchange.base_url, "faults", [{"kind": "http", "status": 400, "method": "any"}])
    with pytest.raises(PipelineStepFailed, match="http 400"):
        pipeline.run(source)
    assert len(landed(pipeline)) == 1440
    control(exchange.base_url, "faults", [])
    pipeline.run(source)
    assert landed(pipeline) == true(exchange, "2024-01-30", LATER)


def test_a_range_with_an_end_is_loaded_whole_and_leaves_the_cursor(pipeline, exchange):
    pipeline.run(deribit_perpetuals(BTC, start="2024-01-29"))
    for _ in range(2):
        pipeline.run(deribit_perpetuals(BTC, start="2024-01-25", end="2024-01-27"))
    assert landed(pipeline) == [
        *true(exchange, "2024-01-25", "2024-01-27"),
        *true(exchange, "2024-01-29", NOW),
    ]
    asked = charts(exchange)
    pipeline.run(deribit_perpetuals(BTC))
    assert charts(exchange) == asked + 1


def test_a_history_begins_with_the_first_candle_and_ends_with_the_last_of_a_delisted_one(pipeline, exchange):
    ended = {"kind": "delisted", "instrument": ETH, "at": "2024-01-30T06:00:00Z"}
    control(exchange.base_url, "faults", [ended])
    pipeline.run(deribit_perpetuals([BTC, ETH], resolution="1D"))
    first, *_, last = landed(pipeline, ETH)
    daily = truth(exchange.base_url, ETH, "2019-01-01", NOW, "1D")
    assert first[0] == daily[0][0]
    assert last[0] == max(row[0] for row in daily if row[-1] > 0)
    with pipeline.sql_client() as client:
        told = client.execute_sql("select instrument, ended_at is not null from instruments order by 1")
    assert told == [(BTC, False), (ETH, True)]


@pytest.mark.parametrize("parallel", [False, True])
def test_all_is_every_listed_perpetual_in_one_thread_of_dlt_or_in_several(pipeline, parallel):
    source = deribit_perpetuals("all", start="2024-01-30T23:00")
    pipeline.run(source.parallelize() if parallel else source)
    with pipeline.sql_client() as client:
        counted = client.execute_sql("select instrument, count(*) from candles group by 1 order by 1")
    assert len(counted) == (len(source.resources) - 1) / 3 > 2
    assert {count for _, count in counted} == {60}


def test_hints_of_the_user_win(pipeline, exchange):
    def appending() -> DltSource:
        source = deribit_perpetuals(BTC, start="2024-01-30")
        source.resources["candles BTC-PERPETUAL 1"].apply_hints(write_disposition="append")
        return source

    pipeline.run(appending())
    pipeline.run(appending())
    assert len(landed(pipeline)) == 1440 + 11


@pytest.mark.parametrize("mode", ["fifo", "round_robin"])
def test_it_works_among_a_users_own_settings(pipeline, exchange, monkeypatch, mode):
    settings = {
        "EXTRACT__NEXT_ITEM_MODE": mode,
        "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID": "true",
        "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_ID": "true",
        "START": "2016-01-01",
        "RESOLUTION": "60",
        "API_URL": "http://127.0.0.1:9",
        "SOURCES__DERIBIT_PERPETUALS__END": "2020-01-01",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        pipeline.run(deribit_perpetuals([BTC, ETH], start="2024-01-30"))
    assert landed(pipeline) == true(exchange, "2024-01-30", NOW)


def test_no_thread_outlives_a_run_that_was_cut_short(pipeline, exchange):
    pipeline.run(deribit_perpetuals([BTC, ETH], start=START).add_limit(1))
    assert not [one for one in threading.enumerate() if one.name.startswith("fetch")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"instruments": []}, "expected instruments, got none"),
        ({"instruments": "BTC"}, r"list BTC \(BTC-PERPETUAL"),
        ({"instruments": "GONE-PERPETUAL"}, "list GONE-PERPETUAL"),
        ({"instruments": BTC, "start": "yesterday"}, "expected a date"),
        ({"instruments": BTC, "resolution": "7"}, "expected a resolution"),
        ({"instruments": BTC, "only": "trades"}, "expected only to name candles, funding, settlements"),
        ({"instruments": BTC, "lookback": -1}, "expected a lookback"),
        ({"instruments": BTC, "api_url": "ftp://x"}, "expected"),
    ],
)
def test_an_argument_that_cannot_be_used_is_refused_at_once(arguments: dict, message: str):
    with pytest.raises(UsageError, match=message):
        deribit_perpetuals(**arguments)

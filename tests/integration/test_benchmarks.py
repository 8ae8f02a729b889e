"""The benchmark suite runs, writes what it measured, and leaves nothing behind. No figure is judged here."""

from __future__ import annotations

import json
import sys

from tests.benchmarks.peers.faults import judge
from tests.benchmarks.peers.tools import HERE, QUIET
from tests.support.exchange import BTC, ETH, set_clock
from tests.support.perps import PROJECT, expect, perps_environment, run_program
from tests.support.truth import rows, truth

CLOSED = """
select
    (extract(epoch from "timestamp") * 1000)::bigint, instrument, open::text::numeric(18, 8),
    high::text::numeric(18, 8), low::text::numeric(18, 8), close::text::numeric(18, 8),
    volume::text::numeric(18, 8)
from deribit.candles
where "timestamp" < %s
"""


def test_a_tiny_backfill_is_measured_and_nothing_is_left(tmp_path, home, environment, server):
    out, folder = tmp_path / "figures.json", home / "benchmarks"
    folder.mkdir(0o755)
    flags = ["--quick", "--unprepared", "--only", "memory", "--sizes", "0.005", "--out", str(out)]
    command = [sys.executable, "-m", "tests.benchmarks", *flags]
    printed = expect(run_program(command, {**environment, "TMPDIR": str(folder)}, PROJECT))
    assert list(folder.iterdir()) == []
    figures = {(each["case"], each["metric"]): each for each in json.loads(out.read_text())["figures"]}
    peak = figures["backfill 5,000", "peak memory pipeline"]
    assert len(peak["values"]) == 1
    assert peak["median"] > 10
    assert "backfill 5,000" in printed


def test_the_peer_of_dlt_brings_what_the_exchange_has(tmp_path, database, exchange, environment):
    start, names = "2024-01-01T00:00:00Z", (BTC, ETH)
    command = ["env", *QUIET, sys.executable, str(HERE / "dlt_merge.py"), ",".join(names), start]
    variables = perps_environment(environment, database, exchange.base_url)
    for end in ("2024-01-05T00:00:00Z", "2024-01-05T00:01:00Z"):
        set_clock(exchange, end)
        expect(run_program(command, variables, tmp_path))
        held = rows(database, CLOSED, end)
        true = [row for name in names for row in truth(exchange.base_url, name, start, end)]
        assert str(judge(held, true)) == "0"

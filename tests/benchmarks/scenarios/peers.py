"""This tool beside what people use today, against the same simulator: speed, size, and ten faults."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence

from extract.database.database import Database
from tests.benchmarks.peers import faults
from tests.benchmarks.peers.faults import MINUTE_MS, TRIALS, Trial, Verdict, judge
from tests.benchmarks.peers.tools import Commands, Tool, install, tools
from tests.benchmarks.plan import Plan
from tests.benchmarks.results import Results
from tests.benchmarks.spans import Span, iso, newest
from tests.benchmarks.stage import BenchmarkError, Cost, Exchange, Stage
from tests.support.truth import control, rows, truth

HELD = """
select (extract(epoch from "timestamp") * 1000)::bigint, instrument, open, high, low, close, volume
from {table}
"""
SIZE = """
select coalesce(
    (
        select hypertable_size(format('%%I.%%I', hypertable_schema, hypertable_name)::regclass)
        from timescaledb_information.hypertables
        where hypertable_schema = 'public' and hypertable_name = %s
    ),
    pg_total_relation_size(%s)
)
"""


def run(stage: Stage, results: Results, plan: Plan) -> None:
    """Inject the faults; then measure loads and minutes `plan.runs` times, one tool after the other."""
    results.matrix()
    results.progress("installing ccxt into .venv-peers, which takes a minute")
    install()
    span, all_tools = newest(plan.peers), tools()
    _faults(stage, results, [tool for tool in all_tools if tool.judged], TRIALS[: plan.faults])
    for number in range(plan.runs):
        for tool in all_tools:
            results.progress(f"{tool.name}, run {number + 1}")
            _unlimited(stage, results, tool, span)
            _limited(stage, results, tool, span)
    results.note(
        f"{span.candles:,} candles of {span.instruments}; seconds are those of whole processes, from "
        "the first request to the table. perps also builds rollups and quality models, and runs its tests."
    )
    results.note("Limited: 20 requests a second after the first 100, 100 ms latency.")


def _faults(stage: Stage, results: Results, judged: Sequence[Tool], trials: Sequence[Trial]) -> None:
    """Keep a table with a line for each fault and a column for each tool."""
    lines = ["| | " + " | ".join(tool.name for tool in judged) + " |", "|---|" + "---:|" * len(judged)]
    for trial in trials:
        cells = []
        for tool in judged:
            cells.append(_try(stage, tool, trial))
            results.progress(f"{trial.name}, {tool.name}: {cells[-1]}")
        lines.append(f"| {trial.name} | {' | '.join(cells)} |")
        results.table("\n".join(lines))


def _unlimited(stage: Stage, results: Results, tool: Tool, span: Span) -> None:
    exchange = stage.unlimited(span.end_ms)
    database = _fresh(stage, tool)
    empty = _value(database, "select pg_database_size(current_database())")
    costs = _measure(stage, tool.first(span.instruments, span.start_ms), database, exchange)
    _add(results, tool, "first load", costs, span.candles)
    if len(costs) > 1:
        results.add(tool.name, "first load: of it landing", costs[0].seconds, "s")
    _expect(results, tool, database, span)
    full = _value(database, "select pg_database_size(current_database())")
    table = _value(database, SIZE, tool.table, tool.table)
    results.add(tool.name, "a row of the table", table / span.candles, "bytes")
    results.add(tool.name, "a row, everything", (full - empty) / span.candles, "bytes")


def _limited(stage: Stage, results: Results, tool: Tool, span: Span) -> None:
    exchange, database = stage.limited(span.end_ms), _fresh(stage, tool)
    costs = _measure(stage, tool.first(span.instruments, span.start_ms), database, exchange)
    _add(results, tool, "first load, limited", costs, span.candles)
    _expect(results, tool, database, span)
    exchange.set_clock(span.end_ms + MINUTE_MS)
    costs = _measure(stage, tool.minute(span.instruments, span.start_ms), database, exchange)
    _add(results, tool, "a minute later", costs)


def _try(stage: Stage, tool: Tool, trial: Trial) -> str:
    """Put a tool through a trial; return how its table differs from the truth, and whether it says so."""
    exchange = stage.limited(trial.now_ms) if trial.killed else stage.unlimited(trial.now_ms)
    database, start_ms = _fresh(stage, tool), trial.now_ms - faults.HISTORY_MS
    try:
        control(exchange.base_url, "faults", trial.first)
        first = tool.first(faults.TWO, start_ms)
        if trial.killed:
            _kill(stage, first[0], database, exchange)
        else:
            _measure(stage, first, database, exchange, may_fail=True)
        control(exchange.base_url, "faults", trial.later)
        now_ms = trial.now_ms + trial.after_ms
        exchange.set_clock(now_ms)
        again = first if trial.killed else tool.last(trial.names, start_ms)
        last = _measure(stage, again, database, exchange, may_fail=True)
        verdict = _judge(tool, database, exchange, trial, start_ms, now_ms)
    finally:
        control(exchange.base_url, "faults", [])
    return f"{verdict}, says so" if any(cost.code for cost in last) else str(verdict)


def _judge(
    tool: Tool, database: Database, exchange: Exchange, trial: Trial, start_ms: int, now_ms: int
) -> Verdict:
    over_ms = now_ms // MINUTE_MS * MINUTE_MS
    exists = rows(database, "select to_regclass(%s) is not null", tool.table) == [(True,)]
    held = rows(database, HELD.format(table=tool.table)) if exists else []
    true = [
        row
        for name in trial.names.split(",")
        for row in truth(exchange.base_url, name, str(start_ms), str(over_ms))
    ]
    return judge([row for row in held if trial.forming or row[0] < over_ms], true)


def _kill(stage: Stage, command: Sequence[str], database: Database, exchange: Exchange) -> None:
    """Run a command and kill it, and what it started, once the exchange has answered half of its pages."""
    before = exchange.requests()
    process = subprocess.Popen(
        command,
        env=stage.environment(database, exchange),
        cwd=stage.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while exchange.requests() < before + 5:
            if process.poll() is not None:
                raise BenchmarkError(f"{' '.join(command)} ended before it was killed")
            time.sleep(0.01)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _fresh(stage: Stage, tool: Tool) -> Database:
    """Return an empty database for a tool, which has parsed its dbt project and has no state of its own."""
    name = f"peers_{tool.name.split(',')[0].replace(' ', '_')}"
    database = stage.fresh(name, parsed=False)
    shutil.rmtree(stage.home / "pipelines", ignore_errors=True)
    if not stage.target(database).exists():
        _measure(stage, tool.parse, database)
    return database


def _measure(
    stage: Stage,
    commands: Commands,
    database: Database,
    exchange: Exchange | None = None,
    *,
    may_fail: bool = False,
) -> list[Cost]:
    return [stage.measure(command, database, exchange, may_fail=may_fail) for command in commands]


def _add(results: Results, tool: Tool, what: str, costs: Sequence[Cost], candles: int = 0) -> None:
    seconds = sum(cost.seconds for cost in costs)
    if candles:
        results.add(tool.name, f"{what}: candles/s", candles / seconds)
    results.add(tool.name, f"{what}: seconds", seconds, "s")
    results.add(tool.name, f"{what}: CPU pipeline", sum(cost.cpu for cost in costs), "s")
    results.add(tool.name, f"{what}: CPU server", sum(cost.server_cpu for cost in costs), "s")


def _expect(results: Results, tool: Tool, database: Database, span: Span) -> None:
    """Say so if an undisturbed load did not bring every closed candle."""
    counted = f"select count(*) from {tool.table} where timestamp < '{iso(span.end_ms)}'"
    if (held := _value(database, counted)) != span.candles:
        results.note(f"WRONG: {held:,} candles of {tool.name}, expected {span.candles:,}")


def _value(database: Database, query: str, *values: str) -> int:
    return int(rows(database, query, *values)[0][0])

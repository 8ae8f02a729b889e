"""Carries a scenario out: the disturbed commands with a look after each, the quiet run, the comparison."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extract.database.database import Database
from extract.load.plan import Cursor
from tests.faults.promise.checks import (
    Candles,
    Difference,
    buckets_too,
    compare,
    remaining,
    unexcused,
    unexcused_others,
    wrong_cursor,
)
from tests.faults.promise.exchange import Exchange, open_exchange
from tests.faults.promise.looks import Seen, exists, look, read_gaps, read_others, read_table
from tests.faults.promise.points import CRASH, SIGNALS, TERMINATE
from tests.faults.promise.replies import LYING, SPOILING
from tests.faults.promise.result import Result, action_of, code_after, fault_of, last_line, name_of
from tests.faults.promise.scenario import BUILD, DBT, DEV, NAMES, UPKEEP, Scenario, Step, iso
from tests.faults.promise.stage import Stage
from tests.faults.promise.zygote import Ended
from tests.support.foreign import OF_DBT, OF_DLT

BUSY = "is using database"
RATE = ("--requests-per-second", "10000")


class PromiseBrokenError(AssertionError):
    """The promise does not hold; the message has the seed, what happened and how to see it again."""


def carry_out(scenario: Scenario, stage: Stage) -> Result:
    """Carry a scenario out.

    Raises:
        PromiseBrokenError: something that must hold does not.
    """
    begun, result = time.monotonic(), Result(scenario.seed)
    stage.revive()
    stage.wait_until_quiet()
    stage.fresh_database()
    try:
        with open_exchange(scenario) as exchange:
            play = _Play(scenario, stage, exchange, result)
            for number, step in enumerate(scenario.steps):
                play.disturbed(number, step)
            play.quiet()
            if (gone_ms := scenario.delisted_ms) and gone_ms <= exchange.now_ms():
                result.faults.append(("api", "a perpetual is delisted"))
            result.api = dict(exchange.book.hits)
    except AssertionError as error:
        told = "\n".join(result.steps)
        raise PromiseBrokenError(
            f"{error}\nscenario: {scenario}\nwhat happened:\n{told}\nagain: make soak SEED={scenario.seed}"
        ) from error
    result.took_s = time.monotonic() - begun
    return result


@dataclass
class _Play:
    scenario: Scenario
    stage: Stage
    exchange: Exchange
    result: Result
    started: dict[str, int] = field(default_factory=dict)
    seen: Seen = field(default_factory=lambda: Seen({}, {}, {}))
    built: bool = False

    def disturbed(self, number: int, step: Step) -> None:
        """Run one disturbed command and look at what it leaves."""
        self.exchange.simulator.clock.advance(step.advance_ms)
        if step.lost:
            self.stage.lose_workdir()
            self.result.faults.append(("disk", "working folder lost between commands"))
        self.exchange.misbehave(step.faults)
        self._begin(step.command, step.wanted)
        victims = self.stage.victims()
        hit = step.hit
        can_build = has_raw_tables(self.stage.database)
        beside = self.stage.start_beside(self._plain(step.beside), self.exchange.url) if step.beside else None
        running = self.stage.start(
            self._arguments(step.command, step.wanted),
            self.exchange.url,
            self.scenario.buckets,
            hit,
            victims if hit else None,
            OF_DLT | OF_DBT if step.foreign else None,
        )
        disturbed = False
        if step.outside and not running.ended(step.outside.after_s):
            self.stage.disturb(running, step.outside.action, victims)
            disturbed = True
        told = time.monotonic()
        ended = running.wait()
        if disturbed and step.outside and step.outside.action in SIGNALS:
            self.result.slowest_end_s = max(self.result.slowest_end_s, time.monotonic() - told)
        disturbed = disturbed or Path(victims.reached).exists()
        self._note(step, ended, hit if hit else step.outside, disturbed=disturbed)
        if beside:
            self._expect_beside(step, beside.wait(), disturbed=disturbed, can_build=can_build)
        self._revive(step, disturbed=disturbed)
        expected = {0, 1} | ({code_after(step)} if disturbed else set())
        if self.scenario.delisted_ms and self.scenario.kinds & (LYING | SPOILING):
            expected.add(2)  # a name that is not listed, and of which the exchange says that there is nothing
        assert ended.code in expected, f"step {number}: expected exit code 0 or 1, got {ended}"
        if ended.code == 1:
            assert "error: " in ended.err or (step.command in DBT and "rror" in ended.out), (
                f"step {number}: expected a line that says why, got {ended}"
            )
        if not step.at_once:
            self.check(f"after step {number}")
        if ended.code in (130, 143):
            assert "interrupted: " in ended.err, f"step {number}: expected a line that says so, got {ended}"

    def _expect_beside(self, step: Step, ended: Ended, *, disturbed: bool, can_build: bool) -> None:
        """A build beside a command that is killed goes on; one whose server or sessions are hit may fail."""
        self.result.steps.append(
            f"beside it {step.beside}: exit {ended.code} in {ended.took_s:.1f} s {last_line(ended.out)}"
        )
        self.result.faults.append(("people", f"plain dbt {step.beside} beside {name_of(step.command)}"))
        may_fail = not can_build or (disturbed and action_of(step) in (CRASH, TERMINATE))
        assert ended.code == 0 or may_fail, f"expected dbt beside {step.command} to succeed, got {ended}"
        self.built = self.built or (step.beside == BUILD and ended.code == 0)

    def _revive(self, step: Step, *, disturbed: bool) -> None:
        if disturbed and action_of(step) == CRASH:
            self.stage.revive()

    def _note(self, step: Step, ended: Ended, what: Any, *, disturbed: bool) -> None:
        happened = f"{what}" if disturbed else f"not reached: {what}" if what else "undisturbed"
        self.result.steps.append(
            f"{step.command}: {happened}: exit {ended.code} in {ended.took_s:.1f} s {last_line(ended.err)}"
        )
        self.result.busy += BUSY in ended.err
        if "error: unexpected" in ended.err:
            self.result.unexpected.append(last_line(ended.err))
        if disturbed:
            self.result.faults.append(fault_of(step, built=self.built))
        if step.foreign:
            self.result.faults.append(("people", "settings of dlt's and dbt's for something else"))
        if step.command == BUILD and ended.code == 0:
            self.built = True

    def check(self, when: str) -> None:
        """Check what holds at any time: cursors are not ahead of data, and what was read is built."""
        self.stage.wait_until_quiet()
        names = list(self.scenario.created_ms)
        self.seen = look(self.stage.database, names)
        truth = self.exchange.truth()
        wrong = list(self.seen.wrong_marks)
        for name, cursor in self.seen.cursors.items():
            if cursor.last_ms is not None:
                wrong += wrong_cursor(
                    name,
                    cursor.last_ms,
                    self.started.get(name, 0),
                    sorted(tick for known, tick in truth if known == name),
                    buckets_too(self.seen.landed[name]),
                    cursor.owed,
                    self.seen.answered[name],
                )
        assert not wrong, f"{when}: " + "; ".join(wrong)

    def _begin(self, command: str, wanted: tuple[int, int]) -> None:
        """Remember from where an instrument without a cursor is asked for the first time."""
        if command not in ("update", "backfill"):
            return
        self.stage.wait_until_quiet()
        self.seen = look(self.stage.database, list(self.scenario.created_ms))
        start = self.scenario.origin_ms + wanted[0] * 60_000 if command == "backfill" else 0
        for name, created in self.scenario.created_ms.items():
            cursor = self.seen.cursors.get(name)
            if created <= self.exchange.now_ms() and (cursor is None or cursor.last_ms is None):
                owed = cursor.owed if cursor else ()
                self.started[name] = owed[0][0] if owed and command == "update" else start

    def _arguments(self, command: str, wanted: tuple[int, int]) -> list[str]:
        load = ["--load-candles", str(self.scenario.package), *RATE]
        lookback = ["--lookback", str(self.scenario.lookback)]
        start, end = (iso(self.scenario.origin_ms + minutes * 60_000) for minutes in wanted)
        everything = ["--instruments", *self._everything()]
        return {
            "backfill": ["backfill", *everything, "--start", start, "--end", end, *lookback, *load],
            "update": ["update", *everything, *lookback, *load],
            "repair": ["repair", "--again", *load],
            BUILD: ["dbt", "--", "run"],
            DEV: self._plain(DEV),
            UPKEEP: ["dbt", "--", "run-operation", "upkeep"],
        }[command]

    def _everything(self) -> list[str]:
        """Return `all`, or names where that does not say one that is gone and was never loaded."""
        gone_ms, now = self.scenario.delisted_ms, self.exchange.now_ms()
        if gone_ms is None or gone_ms > now or self.seen.cursors.get(NAMES[1], Cursor()) != Cursor():
            return ["all"]
        return [name for name, created in self.scenario.created_ms.items() if created <= now]

    @staticmethod
    def _plain(target: str) -> list[str]:
        return ["plain", "run", *(["--target", "dev"] if target == DEV else [])]

    def quiet(self) -> None:
        """Let undisturbed commands run until the table is the truth, and check that they suffice."""
        self.exchange.simulator.clock.advance(self.scenario.last_ms)
        self.exchange.misbehave(())
        deceived = bool(self.scenario.kinds & (LYING | SPOILING))
        self._begin("update", (0, 0))
        self._run("update")
        difference = self._build()
        self.result.pending = sum(map(len, (difference.missing, difference.invented, difference.wrong)))
        self._expect_excuses(difference, deceived=deceived)
        if difference.missing and deceived:
            self._run("repair")
            difference = self._build()
            self._expect_excuses(difference, deceived=deceived)
        if not difference.none or self._wrong_others({}):
            whole = (self.exchange.now_ms() - self.scenario.origin_ms) // 60_000 + 1
            self._run("backfill", (0, whole))
            difference = self._build()
        self.result.lost = len(difference.missing) + len(difference.wrong)
        self.result.invented = len(difference.invented) + len(difference.wrong)
        left = [*remaining(difference), *self._wrong_others({})]
        assert not left, "after the quiet run: " + "; ".join(left)
        if self.scenario.has_dev:
            self._run(DEV)
            held, twice = read_table(self.stage.database, "dbt_dev")
            left = [*remaining(self._compare(held)), *self._wrong_others({}, schema="dbt_dev")]
            assert not left, "of the second target: " + "; ".join(left)
            assert twice == 0, f"expected each candle of the second target once, got {twice} twice"
        self.check("after the quiet run")
        if self.scenario.audited:
            self._succeed(["audit"])

    def _run(self, command: str, wanted: tuple[int, int] = (0, 0)) -> None:
        self.result.stages.append(command)
        self._succeed(self._arguments(command, wanted))

    def _succeed(self, arguments: list[str]) -> None:
        running = self.stage.start(arguments, self.exchange.url, self.scenario.buckets)
        ended = running.wait()
        self.result.recovery_s += ended.took_s
        if BUSY in ended.err:  # of a command that was killed a moment ago: its session ends by itself
            self.result.busy += 1
            self.stage.wait_until_quiet()
            ended = self.stage.start(arguments, self.exchange.url, self.scenario.buckets).wait()
            self.result.recovery_s += ended.took_s
        assert ended.code == 0, f"expected perps {arguments[0]} to succeed in the quiet run, got {ended}"

    def _build(self) -> Difference:
        self._run(BUILD)
        held, twice = read_table(self.stage.database)
        assert twice == 0, f"expected each candle once, got {twice} twice"
        return self._compare(held)

    def _compare(self, held: Candles) -> Difference:
        """Compare with the truth, but for flat candles after an end that odd values may have hidden."""
        true, gone_ms = self.exchange.truth(), self.scenario.delisted_ms
        if gone_ms is not None and self.scenario.kinds & SPOILING:
            dead = {key for key in held.keys() - true.keys() if key[0] == NAMES[1] and key[1] >= gone_ms}
            held = {key: row for key, row in held.items() if key not in dead or row[-1]}
        return compare(held, true)

    def _expect_excuses(self, difference: Difference, *, deceived: bool) -> None:
        held, _ = read_table(self.stage.database)
        firsts: dict[str, int] = {}
        for name, tick in held:
            firsts[name] = min(tick, firsts.get(name, tick))
        revised = {
            (fault["instrument"], fault["at"])
            for fault in self.scenario.market
            if fault["kind"] == "revision"
        }
        wrong = unexcused(difference, self.started, revised, read_gaps(self.stage.database), firsts, deceived)
        wrong += self._wrong_others(self.started, deceived=deceived)
        assert not wrong, f"after quiet {self.result.stages}: " + "; ".join(wrong)

    def _wrong_others(
        self, started: dict[str, int], *, deceived: bool = False, schema: str = "public"
    ) -> list[str]:
        """Return where the tables of funding and settlements are not the truth."""
        held = read_others(self.stage.database, schema)
        return unexcused_others(held, self.exchange.others(), started, deceived)


def has_raw_tables(database: Database) -> bool:
    """Tell whether dbt can build: a load has made every raw table, and all of candles."""
    wanted = ("candles_load", "fetches", "instruments", "_dlt_loads")
    return all(exists(database, f"deribit_raw.{table}") for table in wanted)

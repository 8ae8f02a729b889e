"""The container's main program, with a `perps` that does what a test says."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.perps import PROJECT, Result, run_program
from tests.support.waiting import wait_until

SCHEDULE = PROJECT / "docker" / "schedule.sh"

# says when it begins and ends, and with what it was asked: runs that overlap show as two beginnings in a row
PERPS = """#!/bin/sh
echo "begin $*" >>"$LEDGER"
nap=
trap 'echo terminated >>"$LEDGER"; [ -z "$nap" ] || kill "$nap"; exit 143' TERM
{work}
code=$?
echo end >>"$LEDGER"
exit $code
"""
WAITS = 'sleep 60 & nap=$!; echo $$ >"$PERPS_HOME/pid"; wait "$nap"'  # a signal is obeyed at once

# the day is the test's, so that no midnight comes between
DATE = """#!/bin/sh
if [ "$*" = "-u +%Y-%m-%d" ]; then cat "$PERPS_HOME/today"; else exec /bin/date "$@"; fi
"""


@dataclass(frozen=True)
class Schedule:
    """A schedule that runs, what it says and what its runs have written."""

    process: subprocess.Popen[bytes]
    home: Path
    env: dict[str, str]

    @property
    def said(self) -> str:
        return (self.home / "said").read_text()

    @property
    def ledger(self) -> list[str]:
        file = self.home / "ledger"
        return file.read_text().splitlines() if file.exists() else []

    def end(self) -> str:
        """Tell it to end, and return everything that it said."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return self.said

    def healthy(self, **env: str) -> Result:
        return run_program([str(SCHEDULE), "healthy"], self.env | env)


Start = Callable[..., Schedule]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    begun: list[Schedule] = []

    def started(work: str, today: str = "2025-10-01", home: str = ".", **env: str) -> Schedule:
        folder = tmp_path / home
        folder.mkdir(exist_ok=True)
        (folder / "today").write_text(f"{today}\n")
        for name, text in (("perps", PERPS.format(work=work)), ("date", DATE)):
            program = folder / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(text)
            program.chmod(0o755)
        variables = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PERPS_HOME": str(folder),
            "LEDGER": str(folder / "ledger"),
            "PERPS_INTERVAL_SECONDS": "1",
            "PERPS_INSTRUMENTS": "all",
            **env,
        }
        with (folder / "said").open("w") as said:
            process = subprocess.Popen([SCHEDULE], env=variables, stdout=said, stderr=subprocess.STDOUT)
        begun.append(Schedule(process, folder, variables))
        return begun[-1]

    yield started
    for schedule in begun:
        if schedule.process.poll() is None:
            schedule.end()


def test_runs_follow_each_other_and_the_first_of_a_day_repairs_and_reports(start):
    schedule = start("true")
    wait_until(lambda: schedule.ledger.count("end") >= 2, "two runs")
    said = schedule.end()
    assert schedule.process.returncode == 0
    assert said.rstrip().endswith("ended as told")
    reports = f"--out {schedule.home}/reports"
    first, end, second, *_ = schedule.ledger
    assert (first, end) == (f"begin run --instruments all {reports} --repair", "end")
    assert second == f"begin run --instruments all {reports} --no-report"


def test_a_schedule_begun_again_repairs_on_a_new_day_only(start):
    asked = []
    for today in ("2025-10-01", "2025-10-01", "2025-10-02"):
        schedule = start("true", today)
        wait_until(lambda: "end" in schedule.ledger, "a run")  # noqa: B023  # called at once
        schedule.end()
        asked.append("--repair" in schedule.ledger[0])
        (schedule.home / "ledger").unlink()
    assert asked == [True, False, True]


def test_a_run_that_fails_is_logged_and_the_next_one_tried(start):
    schedule = start('[ "$(grep -c begin "$LEDGER")" -gt 1 ]')
    wait_until((schedule.home / "schedule.succeeded").exists, "a run that succeeds")
    said = schedule.end()
    assert said.count("perps run failed with exit code 1") == 1
    assert schedule.ledger.count("end") >= 2


def test_told_to_end_it_ends_the_run_at_work_and_begins_no_other(start):
    schedule = start(WAITS)
    wait_until((schedule.home / "pid").exists, "a run")
    schedule.end()
    assert schedule.process.returncode == 0
    assert [line.split()[0] for line in schedule.ledger] == ["begin", "terminated"]
    assert not (schedule.home / "schedule.succeeded").exists()


def test_told_to_end_just_as_a_run_begins_it_does_not_wait_for_the_run(start):
    # what a child is sent before it has become another program is lost, at some of these moments
    schedules = []
    for n in range(12):
        schedules.append(start(WAITS, home=f"{n}"))
        while not (schedules[-1].home / "schedule.lock").exists():  # the first thing that is written
            assert schedules[-1].process.poll() is None
        time.sleep(n / 500)
        schedules[-1].process.send_signal(signal.SIGTERM)
    assert [schedule.process.wait(30) for schedule in schedules] == [0] * len(schedules)


def test_told_to_end_between_runs_it_ends_at_once(start):
    schedule = start("true", PERPS_INTERVAL_SECONDS="3600")
    wait_until((schedule.home / "schedule.succeeded").exists, "a run")
    schedule.end()
    assert (schedule.process.returncode, schedule.ledger.count("end")) == (0, 1)


def test_a_second_schedule_in_the_same_home_is_refused_even_after_the_first_was_killed_alone(start):
    schedule = start(WAITS)
    pid = schedule.home / "pid"
    wait_until(lambda: pid.exists() and pid.read_text().endswith("\n"), "a run")
    schedule.process.kill()
    schedule.process.wait()
    second = start("true")
    assert second.process.wait(30) == 1
    assert "expected to be the only schedule" in second.said
    os.kill(int(pid.read_text()), signal.SIGTERM)


def test_health_is_a_run_that_succeeded_within_so_many_intervals(start):
    schedule = start("false")
    wait_until(lambda: "end" in schedule.ledger, "a run that fails")
    none = schedule.healthy()
    assert (none.returncode, none.stderr) == (
        1,
        "expected a run that succeeded, got none yet; look at the log\n",
    )
    schedule.end()
    now = int(time.time())
    (schedule.home / "schedule.succeeded").write_text(f"{now - 600}\n")
    patient = {"PERPS_INTERVAL_SECONDS": "60", "PERPS_UNHEALTHY_AFTER": "20"}
    assert schedule.healthy(**patient).returncode == 0
    late = schedule.healthy(**patient | {"PERPS_UNHEALTHY_AFTER": "9"})
    assert late.returncode == 1
    assert "expected a run that succeeded within 540 s" in late.stderr

"""What came of a scenario, and what is said of each fault in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.faults.promise.points import KILL, SIGNALS, TERMINATE
from tests.faults.promise.scenario import BUILD, DBT, DEV, UPKEEP, Step


@dataclass
class Result:
    """What came of a scenario.

    Attributes:
        seed: which.
        steps: per disturbed command what it was, how it ended, seconds.
        faults: group and name of everything that really hit, for the ledger.
        api: per kind how many replies were hit.
        pending: candles that differed after the quiet update and build, before anything else.
        stages: the quiet commands that were needed.
        lost, invented: candles that differ in the end.
        recovery_s: seconds of the quiet commands.
        busy: how often a command found the lock of a killed one still held.
        slowest_end_s: seconds that a command took to end, at most, once it was told to from outside.
        unexpected: messages that the program did not expect itself.
        took_s: seconds of everything.
    """

    seed: int
    steps: list[str] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)
    api: dict[str, int] = field(default_factory=dict)
    pending: int = 0
    stages: list[str] = field(default_factory=list)
    lost: int = 0
    invented: int = 0
    recovery_s: float = 0.0
    busy: int = 0
    slowest_end_s: float = 0.0
    unexpected: list[str] = field(default_factory=list)
    took_s: float = 0.0


def action_of(step: Step) -> str | None:
    """Return what is done to a command, from the inside or from the outside."""
    return step.hit.action if step.hit else step.outside.action if step.outside else None


def code_after(step: Step) -> int:
    """Return the exit code of a command that the disturbance ended."""
    action = action_of(step)
    return 128 + SIGNALS[action] if action in SIGNALS else -9


def name_of(command: str) -> str:
    return {BUILD: "dbt", DEV: "dbt of a second target", UPKEEP: "upkeep"}.get(command, "the load")


def fault_of(step: Step, *, built: bool) -> tuple[str, str]:
    """Return group and name of what hit a command, as the ledger's table has them."""
    action, what = action_of(step), name_of(step.command)
    if step.command == BUILD:
        where = "during an increment" if built else "during the first build"
    elif step.command in DBT:
        where = "at any time"
    elif step.hit:
        where = "between COPY and bookkeeping" if _after_copy(step) else f"in {step.hit.part}"
    else:
        where = "at any time"
    if action == KILL:
        return "process", f"kill -9 of {what}, {where}"
    if action in SIGNALS:
        return "process", f"{SIGNALS[action].name} to {what}, {where}"
    if action == TERMINATE:
        return "server", f"pg_terminate_backend of all sessions of {what}, {where}"
    return "server", f"kill -9 of the database server under {what}, {where}"


def _after_copy(step: Step) -> bool:
    hit = step.hit
    return bool(
        hit
        and (
            (hit.point in ("copy", "commit", "job") and hit.moment == "after")
            or (hit.point == "complete" and hit.moment == "before")
        )
    )


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    return lines[-1][:200] if lines else ""

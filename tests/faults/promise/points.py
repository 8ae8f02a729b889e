"""Where a command can be hit: named points inside dlt, dbt and the project, and what happens there.

It is called inside the child that is to be hit. A hit is real: SIGKILL of the process itself, or of the
database server, or pg_terminate_backend of every session but the one that asks for it.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg2

from tests.support.private import BEGIN, COMMIT, COMPLETE, COPY, JOB, STATEMENT, TABLES

POINTS: Mapping[str, Mapping[str, str]] = {
    "fetch": {
        "window": "extract.load.run:fetch_window",
        "plan": "extract.load.run:read_cursor",
        "compare": "extract.load.run:mark",
        "state": "dlt.pipeline.pipeline:Pipeline.sync_destination",
        "sweep": "extract.database.cleaning:sweep",
        "swept": "extract.database.cleaning:_delete",
    },
    "extract": {
        "extract": "dlt.pipeline.pipeline:Pipeline.extract",
        "resource": "extract.load.source:_rows",
        "owed": "extract.load.source:owed_after",
        "landed": "extract.load.source:landed_after",
    },
    "normalize": {
        "normalize": "dlt.pipeline.pipeline:Pipeline.normalize",
        "tables": TABLES,
        "hypertable": "extract.database.raw_tables:prepare",
    },
    "load": {
        "announce": "extract.database.raw_tables:announce",
        "load": "dlt.pipeline.pipeline:Pipeline.load",
        "copy": COPY,
        "commit": "adbc_driver_manager.dbapi:Connection.commit",
        "job": JOB,
    },
    "bookkeeping": {
        "complete": COMPLETE,
        "count": "extract.database.raw_tables:rows_in_load",
        "summary": "extract.database.raw_tables:summarize",
        "prune": "extract.database.cleaning:prune",
    },
    "dbt": {
        "statement": STATEMENT,
        "commit": COMMIT,
        "begin": BEGIN,
        "mark": f"{STATEMENT}?for update",
        "range": f"{STATEMENT}?) as built",
        "keys": f"{STATEMENT}?add primary key",
        "moved": f"{STATEMENT}?read_at = now()",
    },
}
"""By the part of a command that they belong to: a name and where the function is, and after a question mark
what is in the arguments of the passes that count."""

BEFORE, AFTER = "before", "after"
KILL, CRASH, TERMINATE, INTERRUPT, END = "kill", "crash", "terminate", "interrupt", "end"
"""Of the process; of the server's postmaster; of every session on the database; by SIGINT; by SIGTERM."""

SIGNALS = {INTERRUPT: signal.SIGINT, END: signal.SIGTERM}


@dataclass(frozen=True)
class Hit:
    """What is done to a command from the inside.

    Attributes:
        part: key of POINTS.
        point: key of POINTS[part].
        moment: before or after the function that the point names.
        nth: at which pass, from 1.
        action: kill, crash, terminate, interrupt or end.
    """

    part: str
    point: str
    moment: str
    nth: int
    action: str = KILL

    def __str__(self) -> str:
        return f"{self.action} {self.moment} pass {self.nth} of {self.part}/{self.point}"


@dataclass(frozen=True)
class Victims:
    """Whom an action needs.

    Attributes:
        postmaster: number of the server's first process.
        superuser: connection string of the role that may terminate sessions.
        database: whose sessions.
        reached: file that is made when the point is reached.
    """

    postmaster: int
    superuser: str
    database: str
    reached: str


def install(hit: Hit, victims: Victims) -> None:
    """Wrap the function of a hit's point, in this process, so that its nth pass does what the hit says."""
    place, _, text = POINTS[hit.part][hit.point].partition("?")
    where, _, qualified = place.partition(":")
    *path, name = qualified.split(".")
    owner: Any = importlib.import_module(where)
    for step in path:
        owner = getattr(owner, step)
    setattr(owner, name, hooked(getattr(owner, name), hit, lambda: act(hit.action, victims), text))


def hooked(
    function: Callable[..., Any], hit: Hit, do: Callable[[], None], text: str = ""
) -> Callable[..., Any]:
    """Return a function that calls `do` at its nth call, of those with `text`, and is the same otherwise."""
    passes = itertools.count(1)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        counts = not text or any(text in given for given in args if isinstance(given, str))
        due = counts and next(passes) == hit.nth
        if due and hit.moment == BEFORE:
            do()
        result = function(*args, **kwargs)
        if due and hit.moment == AFTER:
            do()
        return result

    return wrapped


def act(action: str, victims: Victims) -> None:
    """Do it. A kill does not return."""
    with open(victims.reached, "w"):  # noqa: PTH123
        pass
    if action == KILL:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)  # of another thread: the signal is on its way
    elif action in SIGNALS:
        os.kill(os.getpid(), SIGNALS[action])
    elif action == CRASH:
        os.kill(victims.postmaster, signal.SIGKILL)
    else:
        terminate(victims)


def terminate(victims: Victims) -> None:
    """End every session on the database but the one that this opens."""
    opened = psycopg2.connect(victims.superuser)
    opened.autocommit = True
    with opened.cursor() as cursor:
        cursor.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [victims.database]
        )
    opened.close()

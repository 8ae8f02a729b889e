"""Gives a command up when its database has not answered for minutes, so that no run hangs for ever.

A network that loses everything ends connections by itself (`PATIENCE`). One with a middleman that still
acknowledges, such as a tunnel or a proxy whose other end is gone, does not: only a question shows it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from extract.core.advice import AGAIN
from extract.database.database import Database, DatabaseError

log = logging.getLogger(__name__)

EVERY_S = 60.0
"""Seconds between two questions."""

PATIENCE_S = 300.0
"""Seconds without an answer after which the command ends."""


@contextmanager
def watched(database: Database) -> Iterator[None]:
    """End this process with one line and exit code 1 if the database falls silent inside the block.

    Nothing less ends a thread that waits inside libpq, and a run may be killed anywhere.
    """
    over = threading.Event()
    watching = threading.Thread(target=_watch, args=(database, over), name="watch", daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()


def _watch(database: Database, over: threading.Event) -> None:
    answered = time.monotonic()
    while not over.wait(EVERY_S):
        if answers(database):
            answered = time.monotonic()
        elif time.monotonic() - answered > PATIENCE_S and not over.is_set():
            _give_up(database)


def answers(database: Database) -> bool:
    """Tell whether the database answers a new connection, be it with a refusal of its own."""
    try:
        database.connect().close()
    except DatabaseError as error:
        return "FATAL" in str(error)
    return True


def _give_up(database: Database) -> None:
    silent = (
        f"expected the database at {database.host}:{database.port}/{database.dbname} to answer, got nothing "
        f"for {PATIENCE_S:.0f} s; {AGAIN}"
    )
    log.error("%s", silent, extra={"shown": True})
    print(f"error: {silent}", file=sys.stderr, flush=True)  # noqa: T201  # nobody is left to raise it to
    os._exit(1)

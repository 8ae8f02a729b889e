"""Ends a command when its database has not answered for minutes, so that no run hangs for ever.

If the network drops everything, the connection times out by itself (`PATIENCE`). A tunnel or a proxy whose
other end is gone still acknowledges packets: only a new connection to the database shows that.
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
"""Seconds between two checks."""

PATIENCE_S = 300.0
"""Seconds without an answer after which the command ends."""


@contextmanager
def watched(database: Database) -> Iterator[None]:
    """End this process with one line and exit code 1 if the database stops responding inside the block.

    Nothing else ends a thread that waits inside libpq. It is safe, because a run may be killed at any moment.
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
        if responds(database):
            answered = time.monotonic()
        elif time.monotonic() - answered > PATIENCE_S and not over.is_set():
            _give_up(database)


def responds(database: Database) -> bool:
    """Return whether the database responds to a new connection, even if it refuses it."""
    try:
        database.connect().close()
    except DatabaseError as error:
        return "FATAL" in str(error)
    return True


def _give_up(database: Database) -> None:
    silent = (
        f"the database at {database.host}:{database.port}/{database.dbname} has not responded "
        f"for {PATIENCE_S:.0f} s; {AGAIN}"
    )
    log.error("%s", silent, extra={"shown": True})
    print(f"error: {silent}", file=sys.stderr, flush=True)  # noqa: T201  # the main thread is blocked
    os._exit(1)

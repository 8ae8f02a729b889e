"""Advice after a failure of the database or of a disk, by its cause."""

from __future__ import annotations

import errno

SAFE = "what was loaded before is safe"
AGAIN = f"{SAFE}, run the same command again"

NOT_YET = (
    "starting up",
    "shutting down",
    "recovery",
    "not yet accepting",
    "too many clients",
    "too many connections",
)
"""Parts of the messages of a server that will soon accept connections again."""

BY_STATE = (
    ("53100", f"free disk space on the database server, then run the same command again; {SAFE}"),
    ("53", f"give the server more of that resource, or end some sessions, then run this again; {SAFE}"),
    ("42501", f"ask an administrator to grant the missing privilege, see: perps doctor; {SAFE}"),
    ("25006", f"set PGHOST to a server that accepts writes, which a standby does not; {SAFE}"),
    ("28", "check PGUSER and PGPASSWORD"),
    ("3D", "check PGDATABASE"),
    ("08", AGAIN),
    ("40", AGAIN),
    ("55P03", AGAIN),
    ("57", AGAIN),
)
"""Advice by the first letters of an SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html."""

BY_ERRNO = {
    errno.ENOSPC: f"free disk space for PERPS_HOME, then run the same command again; {SAFE}",
    errno.EDQUOT: f"free disk space for PERPS_HOME, then run the same command again; {SAFE}",
    errno.EACCES: f"set PERPS_HOME to a folder that can be written; {SAFE}",
    errno.EROFS: f"set PERPS_HOME to a folder that can be written; {SAFE}",
}

UNKNOWN = f"{SAFE}; see the log file for details, and report them if perps doctor finds no problem"


def advice(cause: BaseException) -> str:
    """Return what to do after a failure; it says to run the command again only where that can help.

    Args:
        cause: the first error of the failure, from psycopg2, ADBC or the system.
    """
    if isinstance(cause, OSError):
        return BY_ERRNO.get(cause.errno or 0, AGAIN)
    state = getattr(cause, "pgcode", None) or getattr(cause, "sqlstate", None)
    if not state:  # there was no connection, or it was lost
        return AGAIN
    return next((found for start, found in BY_STATE if state.startswith(start)), UNKNOWN)

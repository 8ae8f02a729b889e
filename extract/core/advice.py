"""What can help after a failure of the database or of a disk, by its cause."""

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
"""What a server says that will soon take sessions again."""

BY_STATE = (
    ("53100", f"free some disk of the database's server, then run the same command again; {SAFE}"),
    ("53", f"give the server more of what it lacks, or end some sessions, then run this again; {SAFE}"),
    ("42501", f"have an administrator give the right that is missing, perps doctor names some; {SAFE}"),
    ("25006", f"name a server that takes writes in PGHOST, a standby does not; {SAFE}"),
    ("28", "check PGUSER and PGPASSWORD"),
    ("3D", "check PGDATABASE"),
    ("08", AGAIN),
    ("40", AGAIN),
    ("55P03", AGAIN),
    ("57", AGAIN),
)
"""Advice by the first letters of an SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html."""

BY_ERRNO = {
    errno.ENOSPC: f"free some disk for PERPS_HOME, then run the same command again; {SAFE}",
    errno.EDQUOT: f"free some disk for PERPS_HOME, then run the same command again; {SAFE}",
    errno.EACCES: f"set PERPS_HOME to a folder that can be written; {SAFE}",
    errno.EROFS: f"set PERPS_HOME to a folder that can be written; {SAFE}",
}

UNKNOWN = f"{SAFE}; the log file has the whole of it, please report it if perps doctor does not say more"


def advice(cause: BaseException) -> str:
    """Return what to do after a failure: to run the same command again only where that can help.

    Args:
        cause: what a failure began with, of psycopg2, ADBC or the system.
    """
    if isinstance(cause, OSError):
        return BY_ERRNO.get(cause.errno or 0, AGAIN)
    state = getattr(cause, "pgcode", None) or getattr(cause, "sqlstate", None)
    if not state:  # no connection, or it was lost
        return AGAIN
    return next((found for start, found in BY_STATE if state.startswith(start)), UNKNOWN)

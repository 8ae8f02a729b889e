"""Old loads become few, so that a run a minute leaves no bookkeeping that grows for ever.

Every load has rows in `_dlt_loads`, `fetches`, `loaded_days` and the watermark of each model, and brings the
look-back once more. Consecutive loads in which no candle has two values tell one story: they are merged into
the largest of them, repeated candles are dropped, and nothing that dbt has built changes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import connection as PgConnection
from psycopg2.extensions import cursor as PgCursor

from extract.landing import BUILD_LOCK, BusyError, run_lock
from extract.merge_statements import BOOKS, CANDLES, FETCHES, LOADS
from extract.server.connection import Connection, DatabaseError
from extract.windows import BUCKETS_PER_WINDOW

log = logging.getLogger(__name__)

KEEP = 100
"""The newest loads, which stay as they are."""

WORTH = 100
"""Loads that a merge must save to be worth its statements."""

MOST_CANDLES = 500_000
"""What a merged load may hold, so that each candle is moved a few times at most."""

CLAIMANTS = (
    *("exchange_bars", "loaded_days", "ohlcv_days", "ohlcv_reconciliation", "ohlcv_reconciliation bars"),
    *("ohlcv_revisions", "perpetuals_ohlcv", "rejected_candles"),
)
"""Everything that always has a watermark in quality.consumed_loads."""

ROLLUPS = tuple(f"perpetuals_ohlcv_{name}" for name in ("5m", "15m", "1h", "4h", "1d", "1d_settlement"))
"""What has one once it is built: not every base resolution has every rollup."""


@dataclass(frozen=True)
class Load:
    """A complete load.

    Attributes:
        load_id: dlt's.
        candles: raw candles in it.
        mergeable: every model has read it, it changed no candle, and all its candles can be used.
    """

    load_id: str
    candles: int
    mergeable: bool


def plan_merges(loads: Sequence[Load], keep: int = KEEP, worth: int = WORTH) -> list[list[Load]]:
    """Return groups of consecutive loads to merge, of two or more each; none when that saves too few.

    Args:
        loads: every complete load, oldest first.
        keep: how many of the newest stay as they are.
        worth: how many loads must be saved.
    """
    groups: list[list[Load]] = [[]]
    candles = 0
    for load in loads[: max(0, len(loads) - keep)]:
        if not load.mergeable or candles + load.candles > MOST_CANDLES:
            groups.append([])
            candles = 0
        if load.mergeable:
            groups[-1].append(load)
            candles += load.candles
    found = [group for group in groups if len(group) > 1]
    return found if sum(len(group) - 1 for group in found) >= worth else []


def merge_loads(database: Connection, keep: int = KEEP, worth: int = WORTH) -> int:
    """Merge what can be merged; return how many loads that saved.

    The caller holds the lock of loads. While dbt writes, or when something fails, nothing is done: no candle
    depends on it, and the next run comes soon.

    Args:
        database: the raw tables and what dbt made of them.
        keep: see `plan_merges`.
        worth: see `plan_merges`.
    """
    try:
        with run_lock(database, BUILD_LOCK) as opened:
            return _merge_all(opened, keep, worth)
    except BusyError:
        return 0
    except (psycopg2.Error, DatabaseError):
        log.warning("could not merge old loads; the next run tries again", exc_info=True)
        return 0


def _merge_all(opened: PgConnection, keep: int, worth: int) -> int:
    saved = 0
    with opened.cursor() as cursor:
        cursor.execute("begin")
        try:
            # plain dbt takes no build lock, but one for each claim
            if _is_built(cursor) and _lock_claims(cursor):
                claimants = (*CLAIMANTS, *_built_rollups(cursor))
                for group in plan_merges(_read_loads(cursor, claimants), keep, worth):
                    _merge(cursor, group)
                    saved += len(group) - 1
            cursor.execute("commit")
        except BaseException:
            with suppress(psycopg2.Error):
                cursor.execute("rollback")
            raise
    if saved:
        log.info("merged %d old loads into others", saved)
    return saved


def _is_built(cursor: PgCursor) -> bool:
    names = ("audits", "consumed_loads", "dropped_raw", "loaded_days", "ohlcv_days", "ohlcv_revisions")
    tables = [f"quality.{name}" for name in names]
    cursor.execute("select bool_and(to_regclass(name) is not null) from unnest(%s) as name", [tables])
    return bool(cursor.fetchone()[0])


def _lock_claims(cursor: PgCursor) -> bool:
    cursor.execute(
        "select bool_and(pg_try_advisory_xact_lock(hashtext('quality.consumed_loads'), hashtext(claimant)))"
        " from unnest(%s) as claimant",
        [[*CLAIMANTS, *ROLLUPS]],
    )
    return bool(cursor.fetchone()[0])


def _built_rollups(cursor: PgCursor) -> list[str]:
    cursor.execute(
        "select name from unnest(%s) as name where to_regclass('public.' || name) is not null",
        [list(ROLLUPS)],
    )
    return [name for (name,) in cursor.fetchall()]


def _read_loads(cursor: PgCursor, claimants: Sequence[str]) -> list[Load]:
    cursor.execute(LOADS, {"claimants": list(claimants)})
    return [Load(*row) for row in cursor.fetchall()]


def _merge(cursor: PgCursor, group: Sequence[Load]) -> None:
    """Move everything of a group into its largest load."""
    largest = max(group, key=lambda load: load.candles).load_id
    small = [load.load_id for load in group if load.load_id != largest]
    cursor.execute(
        "select min(first_at), max(last_at) from quality.loaded_days where load_id = any(%s)", [small]
    )
    first_at, last_at = cursor.fetchone()
    names = {
        "group": [*small, largest],
        "small": small,
        "largest": largest,
        "window": BUCKETS_PER_WINDOW,
        "first_at": first_at,  # literal bounds: only the chunks between them are opened
        "last_at": last_at,
    }
    for statement in (*(CANDLES if first_at is not None else ()), FETCHES, *BOOKS):
        cursor.execute(statement, names)

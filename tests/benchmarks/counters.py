"""What PostgreSQL counted: rows read and written by table, and bytes of write-ahead log."""

from __future__ import annotations

import time
from dataclasses import dataclass

from extract.database.database import Database

TABLES = ("raw", "ohlcv", "other")
"""The raw candles, perpetuals_ohlcv, and everything else: quality models and bookkeeping."""

_ROWS = """
select
    case
        when parent.relname = 'candles' then 'raw'
        when parent.relname = 'perpetuals_ohlcv' then 'ohlcv'
        else 'other'
    end,
    sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint,
    sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint
from pg_stat_user_tables as counted
left join pg_inherits as chunk on chunk.inhrelid = counted.relid
left join pg_class as parent on parent.oid = chunk.inhparent
where counted.schemaname !~ '^_timescaledb_c'
group by 1
"""
_OTHERS = """
select count(*) from pg_stat_activity
where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
"""


@dataclass(frozen=True)
class Counters:
    """Counts since the database was made, or between two looks: rows by table, bytes."""

    read: dict[str, int]
    written: dict[str, int]
    wal: int

    def since(self, before: Counters) -> Counters:
        """Return what happened since an earlier look."""
        read = {name: self.read[name] - before.read[name] for name in TABLES}
        written = {name: self.written[name] - before.written[name] for name in TABLES}
        return Counters(read, written, self.wal - before.wal)


def count(database: Database) -> Counters:
    """Return the counts once all sessions have ended, because they report when they end."""
    with database.reading() as cursor:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            cursor.execute(_OTHERS)
            if cursor.fetchone() == (0,):
                break
            time.sleep(0.02)
        cursor.execute(_ROWS)
        rows = {name: (read, written) for name, read, written in cursor.fetchall()}
        cursor.execute("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
        wal = cursor.fetchone()[0]
    read = {name: rows.get(name, (0, 0))[0] for name in TABLES}
    written = {name: rows.get(name, (0, 0))[1] for name in TABLES}
    return Counters(read, written, wal)

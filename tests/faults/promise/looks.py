"""Looks into the database: raw tables, cursors, claims, the table and its gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dlt.common.versioned_state import decompress_state

from extract.resolution import parse_resolution
from extract.server.connection import Connection
from extract.source import read_cursor
from extract.windows import Cursor, Interval
from tests.faults.promise.checks import Candles
from tests.integration.truth import rows

MINUTE = parse_resolution("1")

STATE = """
select state from deribit_raw._dlt_pipeline_state as states
join deribit_raw._dlt_loads as loads on loads.load_id = states._dlt_load_id
where status = 0 order by loads.load_id desc limit 1
"""
LANDED = """
select distinct (extract(epoch from "timestamp") * 1000)::bigint from deribit_raw.candles
where instrument = %s and _dlt_load_id in (select load_id from deribit_raw._dlt_loads where status = 0)
"""
ANSWERED = """
select (extract(epoch from window_start) * 1000)::bigint, (extract(epoch from window_end) * 1000)::bigint
from deribit_raw.fetches
where instrument = %s and _dlt_load_id in (select load_id from deribit_raw._dlt_loads where status = 0)
"""
TABLE = """
select instrument, (extract(epoch from "timestamp") * 1000)::bigint, open, high, low, close, volume
from perpetuals_ohlcv
"""
GAPS = """
select
    instrument,
    (extract(epoch from gap_start) * 1000)::bigint,
    (extract(epoch from gap_end) * 1000)::bigint
from quality.ohlcv_gaps
"""
INCOMPLETE_CLAIMS = """
select count(*) from quality.consumed_loads
where load_id not in (select load_id from deribit_raw._dlt_loads where status = 0)
"""
UNBUILT = """
with claims as (
    select load_id from quality.consumed_loads where model = 'perpetuals_ohlcv' and claimed_by is not null
),
newest as (
    select distinct on (instrument, "timestamp") instrument, "timestamp", open, high, low, close, volume
    from staging.stg_candles where load_id in (select load_id from claims)
    order by instrument, "timestamp", load_id::numeric desc, volume desc, high desc, low, close, open
)
select count(*) from newest full join perpetuals_ohlcv as stored using (instrument, "timestamp")
where (newest.open, newest.high, newest.low, newest.close, newest.volume)
    is distinct from (stored.open, stored.high, stored.low, stored.close, stored.volume)
"""


@dataclass(frozen=True)
class Seen:
    """What the database holds after a command.

    Attributes:
        cursors: per instrument, from the newest state of a complete load.
        landed: per instrument the ticks in complete loads.
        answered: per instrument what answered requests of complete loads spoke for.
        wrong_claims: claims of loads that are not complete, and candles that differ from their claimed loads.
    """

    cursors: Mapping[str, Cursor]
    landed: Mapping[str, set[int]]
    answered: Mapping[str, list[Interval]]
    wrong_claims: list[str] = field(default_factory=list)


def look(database: Connection, names: Sequence[str]) -> Seen:
    """Look at raw tables, cursors and claims."""
    if not _exists(database, "deribit_raw._dlt_loads"):
        return Seen({}, {}, {})
    state = {}
    if _exists(database, "deribit_raw._dlt_pipeline_state"):
        state = next((decompress_state(row[0]) for row in rows(database, STATE)), {})
    has_candles = _exists(database, "deribit_raw.candles")
    has_fetches = _exists(database, "deribit_raw.fetches")
    return Seen(
        {name: read_cursor(state, name, MINUTE) for name in names},
        {name: {row[0] for row in rows(database, LANDED, name)} if has_candles else set() for name in names},
        {name: rows(database, ANSWERED, name) if has_fetches else [] for name in names},
        _wrong_claims(database),
    )


def _wrong_claims(database: Connection) -> list[str]:
    if not _exists(database, "quality.consumed_loads"):
        return []
    wrong = [
        f"{count} claims of loads that are not complete"
        for (count,) in rows(database, INCOMPLETE_CLAIMS)
        if count
    ]
    if _exists(database, "perpetuals_ohlcv") and _exists(database, "staging.stg_candles"):
        wrong += [
            f"{count} candles are not what the claimed loads make of them"
            for (count,) in rows(database, UNBUILT)
            if count
        ]
    elif rows(database, "select count(*) from quality.consumed_loads where model = 'perpetuals_ohlcv'") != [
        (0,)
    ]:
        wrong.append("loads are claimed and there is no table")
    return wrong


def _exists(database: Connection, table: str) -> bool:
    return rows(database, "select to_regclass(%s) is not null", table)[0][0]


def read_table(database: Connection) -> tuple[Candles, int]:
    """Return perpetuals_ohlcv by key, and how many of its rows have a key that another one has."""
    found = rows(database, TABLE)
    held = {(row[0], row[1]): tuple(row[2:]) for row in found}
    return held, len(found) - len(held)


def read_gaps(database: Connection) -> dict[str, list[Interval]]:
    gaps: dict[str, list[Interval]] = {}
    for name, start, end in rows(database, GAPS):
        gaps.setdefault(name, []).append((start, end))
    return gaps

"""Looks into the database: raw tables, cursors, watermarks, the table and its gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dlt.common.versioned_state import decompress_state

from extract.core.ranges import TimeRange
from extract.core.resolution import parse_resolution
from extract.database.database import Database
from extract.load.endpoint import candles
from extract.load.plan import Cursor
from extract.load.state import read_cursor
from tests.faults.promise.checks import Candles
from tests.support.truth import rows

MINUTES = candles(parse_resolution("1"))

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
where instrument = %s
    and endpoint = 'candles'
    and _dlt_load_id in (select load_id from deribit_raw._dlt_loads where status = 0)
"""
TABLE = """
select instrument, (extract(epoch from "timestamp") * 1000)::bigint, open, high, low, close, volume
from {}.perpetuals_ohlcv
"""
OTHERS = {
    "funding": """
        select
            instrument,
            (extract(epoch from "timestamp") * 1000)::bigint,
            interest_1h,
            interest_8h,
            index_price,
            prev_index_price
        from {}.perpetuals_funding
    """,
    "settlements": """
        select
            instrument,
            (extract(epoch from settled_at) * 1000)::bigint,
            open_interest,
            mark_price,
            index_price,
            profit_loss,
            session_profit_loss
        from {}.perpetuals_settlements
    """,
}
GAPS = """
select
    instrument,
    (extract(epoch from gap_start) * 1000)::bigint,
    (extract(epoch from gap_end) * 1000)::bigint
from quality.ohlcv_gaps
"""
AHEAD = """
select relation || ' has read up to ' || read_to || ', the newest complete load is ' || coalesce(newest, 0)
from {quality}.watermarks
cross join (select max(load_id::numeric) as newest from deribit_raw._dlt_loads where status = 0) as loads
where read_to > coalesce(newest, 0)
"""
UNBUILT = """
with versions as (
    select *, load_id::numeric > coalesce(read_to, 0) as is_later
    from {staging}.stg_candles
    left join {quality}.watermarks on relation = '{schema}.perpetuals_ohlcv'
),
newest as (
    select distinct on (instrument, "timestamp") instrument, "timestamp", open, high, low, close, volume
    from versions where not is_later
    order by instrument, "timestamp", load_id::numeric desc, volume desc, high desc, low, close, open
)
select count(*) from newest full join {schema}.perpetuals_ohlcv as stored using (instrument, "timestamp")
where (newest.open, newest.high, newest.low, newest.close, newest.volume)
    is distinct from (stored.open, stored.high, stored.low, stored.close, stored.volume)
    and (instrument, "timestamp") not in (select instrument, "timestamp" from versions where is_later)
"""
"""A load that completes while a model is built may be read before the mark says so, never the other way."""

TARGETS = (
    {"schema": "public", "quality": "quality", "staging": "staging"},
    {"schema": "dbt_dev", "quality": "dbt_dev_quality", "staging": "dbt_dev_staging"},
)


@dataclass(frozen=True)
class Seen:
    """What the database holds after a command.

    Attributes:
        cursors: per instrument, from the newest state of a complete load.
        landed: per instrument the ticks in complete loads.
        answered: per instrument what answered requests of complete loads spoke for.
        wrong_marks: watermarks beyond the newest complete load, and candles that differ from the loads read.
    """

    cursors: Mapping[str, Cursor]
    landed: Mapping[str, set[int]]
    answered: Mapping[str, list[TimeRange]]
    wrong_marks: list[str] = field(default_factory=list)


def look(database: Database, names: Sequence[str]) -> Seen:
    """Look at raw tables, cursors and watermarks."""
    if not exists(database, "deribit_raw._dlt_loads"):
        return Seen({}, {}, {})
    state = {}
    if exists(database, "deribit_raw._dlt_pipeline_state"):
        state = next((decompress_state(row[0]) for row in rows(database, STATE)), {})
    has_candles = exists(database, "deribit_raw.candles")
    has_fetches = exists(database, "deribit_raw.fetches")
    return Seen(
        {name: read_cursor(state, name, MINUTES) for name in names},
        {name: {row[0] for row in rows(database, LANDED, name)} if has_candles else set() for name in names},
        {name: rows(database, ANSWERED, name) if has_fetches else [] for name in names},
        [wrong for target in TARGETS for wrong in _wrong_marks(database, target)],
    )


def _wrong_marks(database: Database, target: Mapping[str, str]) -> list[str]:
    table, view = "{schema}.perpetuals_ohlcv".format(**target), "{staging}.stg_candles".format(**target)
    if not exists(database, "{quality}.watermarks".format(**target)):
        return []
    wrong = [said for (said,) in rows(database, AHEAD.format(**target))]
    if exists(database, table) and exists(database, view):
        wrong += [
            f"{count} candles of {table} are not what the loads that were read make of them"
            for (count,) in rows(database, UNBUILT.format(**target))
            if count
        ]
    return wrong


def exists(database: Database, table: str) -> bool:
    return rows(database, "select to_regclass(%s) is not null", table)[0][0]


def read_table(database: Database, schema: str = "public") -> tuple[Candles, int]:
    """Return perpetuals_ohlcv by key, and how many of its rows have a key that another one has."""
    found = rows(database, TABLE.format(schema))
    held = {(row[0], row[1]): tuple(row[2:]) for row in found}
    return held, len(found) - len(held)


def read_others(database: Database, schema: str = "public") -> dict[tuple[str, str, int], tuple[float, ...]]:
    """Return the rows of the tables of funding and settlements by endpoint, instrument and time, UTC ms."""
    return {
        (endpoint, row[0], row[1]): tuple(row[2:])
        for endpoint, query in OTHERS.items()
        for row in rows(database, query.format(schema))
    }


def read_gaps(database: Database) -> dict[str, list[TimeRange]]:
    gaps: dict[str, list[TimeRange]] = {}
    for name, start, end in rows(database, GAPS):
        gaps.setdefault(name, []).append((start, end))
    return gaps

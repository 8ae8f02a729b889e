"""Funding and settlements for the page's tests: the tables that the report reads, without dbt, and rows."""

from __future__ import annotations

from extract.database.database import Database

TABLES = """
create table public.perpetuals (instrument text primary key, open_interest_unit text);
create table public.perpetuals_funding (
    "timestamp" timestamptz not null, instrument text not null, interest_1h double precision not null,
    interest_8h double precision, index_price double precision, prev_index_price double precision,
    primary key ("timestamp", instrument)
);
select create_hypertable('public.perpetuals_funding', by_range('timestamp', interval '420 days'));
create index on public.perpetuals_funding (instrument, "timestamp" desc);
create table public.perpetuals_settlements (
    settled_at timestamptz not null, settlement_day date not null, instrument text not null,
    open_interest double precision not null, mark_price double precision not null,
    index_price double precision, profit_loss double precision, session_profit_loss double precision,
    primary key (settlement_day, instrument)
);
create table quality.funding_gaps (
    instrument text, gap_start timestamptz, gap_end timestamptz, missing int, reason text, note text,
    last_fetched_at timestamptz
);
create table quality.settlement_gaps (like quality.funding_gaps);
"""

# as the models say it, in fewer words
COVERAGE = """
create view quality.%(name)s_coverage as
select
    stored.*, gaps.*, stored.rows + gaps.unfetched + gaps.rejected + gaps.source as expected,
    gaps.unfetched + gaps.rejected + gaps.source as missing,
    trunc(100.0 * stored.rows / (stored.rows + gaps.unfetched + gaps.rejected + gaps.source), 4)
        as coverage_percent
from (
    select
        instrument, count(*) as rows, min(%(column)s) as first_row, max(%(column)s) as last_row
    from public.perpetuals_%(table)s
    group by instrument
) as stored
cross join lateral (
    select
        coalesce(sum(missing) filter (where reason = 'known'), 0) as known,
        coalesce(sum(missing) filter (where reason = 'unfetched'), 0) as unfetched,
        coalesce(sum(missing) filter (where reason = 'rejected'), 0) as rejected,
        coalesce(sum(missing) filter (where reason = 'source'), 0) as source
    from quality.%(name)s_gaps
    where instrument = stored.instrument
) as gaps;
"""

STAMP = "settlement_day::timestamp at time zone 'utc' + interval '8 hours'"
FUNDING_TABLES = (
    TABLES
    + COVERAGE % {"name": "funding", "table": "funding", "column": '"timestamp"'}
    + COVERAGE % {"name": "settlement", "table": "settlements", "column": STAMP}
)

# rates as they are: mostly above zero, far below a percent
FUNDING = """
insert into public.perpetuals_funding
select
    timestamptz '2026-01-01+00' - number * interval '1 hour', %(instrument)s,
    0.00001 + 0.00003 * sin(number / 900.0) + 0.00001 * sin(number), 0.0001, 60000, 60000
from generate_series(0, %(days)s * 24 - 1) as number
"""

SETTLEMENTS = """
insert into public.perpetuals_settlements
select
    day + interval '8 hours 65 milliseconds', day::date, %(instrument)s,
    round(7e7 + 5e7 * sin(number / 150.0) + 1e6 * sin(number)) * 10, 60000, 60000, 1, 1
from (
    select number, timestamptz '2026-01-01+00' - number * interval '1 day' as day
    from generate_series(1, %(days)s) as number
) as days
"""


def add_funding(database: Database, instrument: str, days: int, unit: str = "USD") -> None:
    """Add the funding of whole days up to the end of 2025, and their settlements.

    Args:
        database: with the tables.
        instrument: its name.
        days: how many.
        unit: of the open interest.
    """
    run(database, "insert into public.perpetuals values (%(name)s, %(unit)s)", name=instrument, unit=unit)
    run(database, FUNDING, instrument=instrument, days=days)
    run(database, SETTLEMENTS, instrument=instrument, days=days)


GAP_OF_ROWS = """
insert into quality.%(name)s_gaps (instrument, gap_start, gap_end, missing, reason)
select
    'BTC-PERPETUAL', since, until,
    extract(epoch from until - since) / extract(epoch from interval '%(step)s') - 1,
    %%(reason)s
from (select %%(start)s::timestamptz as since, %%(end)s::timestamptz as until) as gap;
delete from public.perpetuals_%(table)s
where instrument = 'BTC-PERPETUAL' and %(column)s > %%(start)s and %(column)s < %%(end)s
"""


def add_funding_gap(database: Database, name: str, start: str, end: str, reason: str) -> None:
    """Remove rows of BTC-PERPETUAL, and say so in the table of gaps.

    Args:
        database: with the tables.
        name: `funding` or `settlement`.
        start, end: stamps of the rows before and after, UTC.
        reason: why they are missing.
    """
    places = {
        "funding": {"table": "funding", "column": '"timestamp"', "step": "1 hour"},
        # a settlement is stamped milliseconds after 08:00
        "settlement": {"table": "settlements", "column": "date_trunc('hour', settled_at)", "step": "1 day"},
    }
    sql = GAP_OF_ROWS % {"name": name, **places[name]}
    run(database, sql, start=f"{start}+00", end=f"{end}+00", reason=reason)


def run(database: Database, sql: str, **values: object) -> None:
    """Run statements with their values."""
    with database.reading() as cursor:
        cursor.execute(sql, values)

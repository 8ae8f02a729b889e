"""The tables that the report reads, written by plain SQL: what the page's tests stand on, without dbt."""

from __future__ import annotations

from extract.database.database import Database
from tests.support.page_funding import FUNDING_TABLES

TABLES = """
create schema deribit_raw;
create schema quality;
create table deribit_raw.fetches (
    instrument text, resolution text, window_start timestamptz, window_end timestamptz, rows bigint,
    new_rows bigint, changed_rows bigint, fetched_at timestamptz, origin text, _dlt_load_id text
);
create table deribit_raw._dlt_loads (load_id text, status bigint, inserted_at timestamptz);
create table public.perpetuals_ohlcv (
    "timestamp" timestamptz not null, instrument text not null,
    open numeric(18, 8) not null, high numeric(18, 8) not null, low numeric(18, 8) not null,
    close numeric(18, 8) not null, volume numeric(18, 8) not null, primary key ("timestamp", instrument)
);
select create_hypertable('public.perpetuals_ohlcv', by_range('timestamp', interval '7 days'));
create table quality.watermarks (
    relation text, resolution text, read_to numeric, changed_to numeric, read_at timestamptz, has_rows boolean
);
create table quality.ohlcv_days (
    instrument text, day date, candles int, expected int, first_candle timestamptz, last_candle timestamptz,
    largest_gap_minutes int default 0, fills int default 0, violations int default 0,
    open numeric, high numeric, low numeric, close numeric, volume numeric,
    missing tstzmultirange default '{}',
    primary key (instrument, day)
);
create table quality.ohlcv_gaps (
    instrument text, gap_start timestamptz, gap_end timestamptz, gap_minutes int, reason text, note text,
    last_fetched_at timestamptz
);
create table quality.ohlcv_violations (
    "timestamp" timestamptz, instrument text, open numeric(18, 8), high numeric(18, 8), low numeric(18, 8),
    close numeric(18, 8), volume numeric(18, 8), rule text
);
create table quality.rejected_candles (
    instrument text, resolution text, "timestamp" timestamptz, open double precision, high double precision,
    low double precision, close double precision, volume double precision, cost double precision,
    reason text, load_id text, loaded_at timestamptz
);
create table quality.ohlcv_fill_runs (
    instrument text, run_start timestamptz, run_end timestamptz, minutes int
);
create table quality.ohlcv_inexact (
    instrument text, day date, inexact int, "timestamp" timestamptz, column_name text,
    sent_value numeric, table_value numeric(18, 8)
);
create table quality.ohlcv_jumps (
    instrument text, "timestamp" timestamptz, previous_close numeric(18, 8), open numeric(18, 8),
    high numeric(18, 8), low numeric(18, 8), close numeric(18, 8), volume numeric(18, 8),
    move_percent numeric, typical_percent numeric
);
create table quality.ohlcv_revisions (
    instrument text, "timestamp" timestamptz,
    old_open numeric(18, 8), new_open numeric(18, 8), old_high numeric(18, 8), new_high numeric(18, 8),
    old_low numeric(18, 8), new_low numeric(18, 8), old_close numeric(18, 8), new_close numeric(18, 8),
    old_volume numeric(18, 8), new_volume numeric(18, 8),
    previous_load text, load_id text, revised_at timestamptz
);
create table quality.ohlcv_reconciliation (
    instrument text, resolution text, "timestamp" timestamptz, status text, differing_columns text,
    minutes int, expected_minutes int, open numeric, high numeric, low numeric, close numeric, volume numeric,
    exchange_open numeric, exchange_high numeric, exchange_low numeric, exchange_close numeric,
    exchange_volume numeric
);
create view quality.ohlcv_coverage as
select
    instrument, sum(candles) as candles, min(first_candle) as first_candle, max(last_candle) as last_candle,
    sum(expected) as expected, sum(expected - candles) as missing,
    trunc(100.0 * sum(candles) / sum(expected), 4) as coverage_percent,
    4 as tail_minutes, timestamptz '2026-01-01 00:04:30+00' as checked_at
from quality.ohlcv_days
group by instrument;
"""

LOADED = """
insert into deribit_raw._dlt_loads values ('1767225870.5', 0, '2026-01-01 00:05:00.123+00');
insert into quality.watermarks
values ('public.perpetuals_ohlcv', '1', 1767225870.5, 1767225870.5, '2026-01-01 00:06+00', true);
"""

# the newest candle of everything is 2025-12-31 23:59; prices walk as markets do, on a grid of half a dollar
DAYS = """
insert into quality.ohlcv_days
    (instrument, day, candles, expected, first_candle, last_candle, fills, open, high, low, close, volume)
select
    %(instrument)s, day, 1440, 1440, day, day + interval '1439 minutes', number %% 3,
    price, price + 317.5, price - 402, price + 101.5, (%(volume)s * (1 + 0.9 * sin(number)))::numeric(18, 8)
from (
    select
        number, timestamptz '2026-01-01+00' - number * interval '1 day' as day,
        round((60000 + 20000 * sin(number / 200.0) + 1500 * sin(number * 1.7))::numeric * 2) / 2 as price
    from generate_series(1, %(days)s) as number
) as days
"""

MINUTES = """
insert into public.perpetuals_ohlcv
select
    timestamptz '2026-01-01+00' - number * interval '1 minute', %(instrument)s,
    price, price + 17.5, price - 12, price + 3.5, (10 + 9.9 * sin(number * 0.7))::numeric(18, 8)
from (
    select number, round((60000 + 900 * sin(number / 500.0) + 20 * sin(number))::numeric * 2) / 2 as price
    from generate_series(1, %(minutes)s) as number
) as minutes
"""


def create_tables(database: Database, origin: str = "simulator") -> None:
    """Create what the report reads, with one complete load of `origin` and without a candle."""
    run(database, TABLES)
    run(database, FUNDING_TABLES)
    run(database, LOADED)
    run(
        database,
        "insert into deribit_raw.fetches (instrument, resolution, origin) values ('any', '1', %(origin)s)",
        origin=origin,
    )


def add_instrument(database: Database, instrument: str, days: int, minutes: int, volume: int = 1000) -> None:
    """Add whole days, and the minutes of the newest ones, up to the last minute of 2025.

    Args:
        database: with the tables.
        instrument: its name.
        days, minutes: how many of each.
        volume: of a day, on average.
    """
    run(database, DAYS, instrument=instrument, days=days, volume=volume)
    run(database, MINUTES, instrument=instrument, minutes=minutes)


def run(database: Database, sql: str, **values: object) -> None:
    """Run statements with their values."""
    with database.reading() as cursor:
        cursor.execute(sql, values or None)


GAPS = (
    # gap_start, gap_end, minutes, reason, note: as the models say it of a source without candles, a window
    # that failed, an entry of the seed, a rejected candle and a day that nobody asked for
    ("2025-12-20 05:59", "2025-12-20 06:12", 12, "source", None),
    ("2025-12-22 09:59", "2025-12-22 14:00", 240, "unfetched", None),
    ("2025-12-09 19:59", "2025-12-09 20:30", 30, "known", "maintenance, announced"),
    ("2025-12-28 00:09", "2025-12-28 00:11", 1, "rejected", None),
    ("2025-11-14 23:59", "2025-11-16 00:00", 1440, "unfetched", None),
)

FINDINGS = """
insert into quality.ohlcv_violations values
    ('2025-12-30 01:00+00', 'BTC-PERPETUAL', 100, 90, 110, 105, 1, 'high_below_low'),
    ('2025-12-30 02:00+00', 'BTC-PERPETUAL', 100, 110, 90, 105, -1, 'volume_negative'),
    ('2025-12-30 03:00+00', 'BTC-PERPETUAL', 100, 110, 90, 111.5, 1, 'close_outside_range');
update quality.ohlcv_days set violations = 3 where instrument = 'BTC-PERPETUAL' and day = '2025-12-30';
insert into quality.rejected_candles values
    ('BTC-PERPETUAL', '1', '2025-12-28 00:10+00', 100, 110, 90, 'NaN', 1, 1, 'not_a_number', '9.5', '2025-12-28 01:00+00'),
    ('BTC-PERPETUAL', '1', '2025-12-28 00:10+00', 100, 110, 90, 'NaN', 2, 1, 'not_a_number', '10.5', '2025-12-29 01:00+00'),
    ('BTC-PERPETUAL', '1', '2025-12-29 00:05:00.5+00', 0.1, 0.3, 0.1, null, 1, 1, 'off_grid', '10.5', '2025-12-29 01:00+00');
insert into quality.ohlcv_fill_runs values
    ('BTC-PERPETUAL', '2025-12-01 05:15+00', '2025-12-01 09:26+00', 252);
insert into quality.ohlcv_inexact values
    ('BTC-PERPETUAL', '2020-03-11', 1400, '2020-03-11 08:58+00', 'volume', 22.682721123, 22.68272112),
    ('BTC-PERPETUAL', '2025-12-29', 0, '2025-12-29 08:58+00', 'close', 100, null),
    ('BTC-PERPETUAL', '2025-12-30', 2, '2025-12-30 04:00+00', 'low', 0.0000000234, 0.00000002);
insert into quality.ohlcv_jumps values
    ('BTC-PERPETUAL', '2025-12-30 05:00+00', 100, 100, 150, 100, 100, 1, 50.00, 0.0512);
insert into quality.ohlcv_revisions values
    ('BTC-PERPETUAL', '2025-12-31 10:00+00', 100, 100, 110, 110, 90, 90, 105, 106, 2.5, 2.75, '9.5', '10.5', '2025-12-31 11:00+00'),
    ('BTC-PERPETUAL', '2024-11-26 10:00+00', 100, 100, 110, 112, 90, 90, 105, 105, 2.5, 2.5, '9.5', '10.5', '2025-12-31 12:00+00');
insert into quality.ohlcv_reconciliation (instrument, resolution, "timestamp", status, minutes, expected_minutes)
select 'BTC-PERPETUAL', '60', timestamptz '2025-12-20+00' + hour * interval '1 hour', 'identical', 60, 60
from generate_series(0, 28) as hour;
insert into quality.ohlcv_reconciliation values
    ('BTC-PERPETUAL', '60', '2025-12-22 09:00+00', 'different', 'volume', 59, 60, 1, 2, 1, 2, 10, 1, 2, 1, 2, 10.5),
    ('BTC-PERPETUAL', '60', '2025-12-24 09:00+00', 'different', 'high,volume', 60, 60, 1, 2, 1, 2, 10, 1, 3, 1, 2, 11),
    ('BTC-PERPETUAL', '60', '2025-12-22 11:00+00', 'missing_in_minutes', null, 0, 60, null, null, null, null, null, 1, 2, 1, 2, 10);
"""  # noqa: E501

GAP = """
insert into quality.ohlcv_gaps values
    ('BTC-PERPETUAL', %(start)s, %(end)s, %(minutes)s, %(reason)s, %(note)s, '2025-12-31 12:00+00');
delete from public.perpetuals_ohlcv
where instrument = 'BTC-PERPETUAL' and "timestamp" > %(start)s and "timestamp" < %(end)s;
update quality.ohlcv_days
set
    candles = candles - %(minutes)s,
    largest_gap_minutes = %(minutes)s,
    missing = tstzmultirange(tstzrange(%(start)s::timestamptz + interval '1 minute', %(end)s)),
    (open, high, low, close, volume) = (
        select open, high, low, close, volume where %(minutes)s < 1440
    ),
    fills = case when %(minutes)s < 1440 then fills else 0 end
where instrument = 'BTC-PERPETUAL'
    and day = (%(start)s::timestamptz + interval '1 minute')::date
"""


def add_findings(database: Database) -> None:
    """Add GAPS and FINDINGS to BTC-PERPETUAL: one of everything that the report tells of."""
    for start, end, minutes, reason, note in GAPS:
        values = {"minutes": minutes, "reason": reason, "note": note}
        run(database, GAP, start=f"{start}+00", end=f"{end}+00", **values)
    run(database, FINDINGS)

"""The report's queries.

None reads all of perpetuals_ohlcv: findings and days come from small quality tables, and candles are read for
one instrument between two literal times, so that TimescaleDB opens only the chunks between them. Hourly
funding is summed by day in the database.
"""

from __future__ import annotations

DATABASE = "select current_database()"

ORIGINS = "select origin from deribit_raw.fetches group by origin order by count(*) desc, origin"

LAST_LOAD = """
select load_id, inserted_at
from deribit_raw._dlt_loads
where status = 0
order by inserted_at desc
limit 1
"""

COVERAGE = """
select
    instrument, candles, first_candle, last_candle, expected, coverage_percent, tail_minutes, checked_at,
    coalesce(hypertable_size('public.perpetuals_ohlcv'), 0)
        * candles / nullif(sum(candles) over (), 0) as bytes_share
from quality.ohlcv_coverage
order by instrument
"""

COVERED_ROWS = """
select
    'funding' as endpoint, instrument, rows, first_row, last_row, expected, missing, coverage_percent,
    unfetched + rejected as lacking, source
from quality.funding_coverage
union all
select
    'settlements', instrument, rows, first_row, last_row, expected, missing, coverage_percent,
    unfetched + rejected, source
from quality.settlement_coverage
order by instrument, endpoint
"""

RECONCILED = """
select
    resolution, status, count(*), count(*) filter (where minutes >= expected_minutes),
    min("timestamp"), max("timestamp")
from quality.ohlcv_reconciliation
group by resolution, status
order by resolution, status
"""

# gaps that need action come first, because the page shows only the beginning of a long list
GAPS = """
select instrument, gap_start, gap_end, gap_minutes, reason, note, last_fetched_at
from quality.ohlcv_gaps
order by
    array_position(array['unfetched', 'rejected', 'source', 'known'], reason::text),
    gap_minutes desc, instrument, gap_start
"""

FUNDING_GAPS = """
select instrument, gap_start, gap_end, missing, reason, note, last_fetched_at
from quality.funding_gaps
order by
    array_position(array['unfetched', 'rejected', 'source', 'known'], reason::text),
    missing desc, instrument, gap_start
"""

SETTLEMENT_GAPS = FUNDING_GAPS.replace("funding_gaps", "settlement_gaps")

GAP_REASONS = """
select instrument, reason, count(*), range_agg(tstzrange(gap_start, gap_end, '()'))::text
from quality.ohlcv_gaps
group by instrument, reason
order by instrument, reason
"""

VIOLATIONS = """
select instrument, "timestamp", open, high, low, close, volume, rule
from quality.ohlcv_violations
order by instrument, "timestamp", rule
"""

# the cast through text gives the number as Deribit wrote it, NaN and Infinity included
REJECTED = """
select
    instrument, "timestamp", open::text::numeric as open, high::text::numeric as high,
    low::text::numeric as low, close::text::numeric as close, volume::text::numeric as volume,
    reason as rule, loaded_at
from (
    select distinct on (instrument, "timestamp", resolution) *
    from quality.rejected_candles
    order by instrument, "timestamp", resolution, load_id::numeric desc
) as latest
order by instrument, "timestamp"
"""

# the largest loss, relative to the value, comes first
INEXACT = """
select instrument, day, inexact, "timestamp", column_name, sent_value, table_value
from quality.ohlcv_inexact
where inexact > 0
order by abs(sent_value - table_value) / abs(sent_value) desc, instrument, day
"""

# the largest move, relative to the typical move, comes first
JUMPS = """
select instrument, "timestamp", previous_close, open, high, low, close, volume, move_percent, typical_percent
from quality.ohlcv_jumps
order by move_percent / nullif(typical_percent, 0) desc nulls first, instrument, "timestamp"
"""

REVISIONS = """
select
    instrument, "timestamp", old_open, new_open, old_high, new_high, old_low, new_low, old_close, new_close,
    old_volume, new_volume, previous_load, load_id, revised_at
from quality.ohlcv_revisions
order by revised_at desc, instrument, "timestamp"
"""

RECONCILIATION = """
select
    instrument, resolution, "timestamp", status, differing_columns, minutes, expected_minutes,
    open, high, low, close, volume,
    exchange_open, exchange_high, exchange_low, exchange_close, exchange_volume
from quality.ohlcv_reconciliation
where status <> 'identical'
order by minutes < expected_minutes, instrument, resolution, "timestamp"
"""

FILL_RUNS = """
select instrument, run_start, run_end, minutes
from quality.ohlcv_fill_runs
order by minutes desc, instrument, run_start
"""

TURNOVER = """
select instrument, sum(volume * close) as turnover
from quality.ohlcv_days
where day > (select max(day) from quality.ohlcv_days) - 30
group by instrument
"""

# a day is known if all its missing buckets lie inside known gaps
DAYS = """
select
    day, candles, expected, largest_gap_minutes, fills, violations,
    not isempty(missing) and missing <@ %(known)s::tstzmultirange as known,
    open, high, low, close, volume
from quality.ohlcv_days
where instrument = %(instrument)s
order by day
"""

# the hour that ends at midnight belongs to the day before
FUNDING_DAYS = """
select
    (time_bucket('1 day', "timestamp" - interval '1 hour') at time zone 'utc')::date as day,
    100 * sum(interest_1h), count(*)
from public.perpetuals_funding
where instrument = %(instrument)s
group by 1
order by 1
"""

OPEN_INTEREST_DAYS = """
select settlement_day, open_interest
from public.perpetuals_settlements
where instrument = %(instrument)s
order by settlement_day
"""

OPEN_INTEREST_UNITS = "select instrument, open_interest_unit from public.perpetuals"

BARS = """
select
    (extract(epoch from time_bucket(%(width)s::interval, "timestamp")) * 1000)::bigint,
    first(open, "timestamp"), max(high), min(low), last(close, "timestamp"), sum(volume)
from public.perpetuals_ohlcv
where instrument = %(instrument)s
    and "timestamp" >= %(start)s
    and "timestamp" < %(end)s
group by 1
order by 1
"""

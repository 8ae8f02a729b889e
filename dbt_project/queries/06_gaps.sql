-- Every gap of the last weeks with its reason, longest first. The query reads no candles, because quality.ohlcv_gaps reads daily rows.
select
    instrument,
    gap_start,
    gap_end,
    gap_minutes,
    reason,
    note,
    last_fetched_at
from quality.ohlcv_gaps
where
    gap_end >= '2025-09-01 00:00+00'
    and gap_start < '2025-10-02 00:00+00'
order by gap_minutes desc, instrument, gap_start;

"""The statements of a merge of loads. Parameters: the group, its largest load, the small others, and times.

first_at and last_at are literal bounds of the small loads' candles, so that only their chunks are opened;
window is what a request asks for at most, in buckets.
"""

from __future__ import annotations

LOADS = """
with settled as (
    select load_id
    from quality.consumed_loads as own
    where claimed_by is not null
        and model = any(%(claimants)s)
        and (
            follows is null
            or follows in (
                select claimed_by from quality.consumed_loads as upstream where upstream.load_id = own.load_id
            )
        )
    group by load_id
    having count(*) = cardinality(%(claimants)s)
),
counted as (
    select load_id, sum(candles) as candles, sum(rejected) as rejected
    from quality.loaded_days
    group by load_id
),
-- their candles cannot be counted again
dropped as (
    select counted.load_id
    from quality.loaded_days as counted
    inner join quality.dropped_raw as dropped
        on dropped.range_start <= counted.last_at
        and dropped.range_end > counted.first_at
        and dropped.newest_load::numeric >= counted.load_id::numeric
),
newest_state as (
    select _dlt_load_id as load_id
    from deribit_raw._dlt_pipeline_state
    inner join deribit_raw._dlt_loads as loads on loads.load_id = _dlt_load_id
    where loads.status = 0
    order by _dlt_load_id desc
    limit 1
)
select
    loads.load_id,
    coalesce(counted.candles, 0)::bigint,
    coalesce(counted.rejected, 0) = 0
        and loads.load_id in (select load_id from settled)
        and loads.load_id not in (select load_id from quality.ohlcv_revisions)
        and loads.load_id not in (select load_id from newest_state)
        and loads.load_id not in (select load_id from dropped)
from deribit_raw._dlt_loads as loads
left join counted on counted.load_id = loads.load_id
where loads.status = 0
order by loads.load_id::numeric
"""


CANDLES = (
    # every version of a candle in the group is the same; the cost, which nobody compares, is the newest
    """
    delete from deribit_raw.candles as older
    using deribit_raw.candles as newer
    where newer.instrument = older.instrument
        and newer.resolution = older.resolution
        and newer."timestamp" = older."timestamp"
        and newer._dlt_load_id::numeric > older._dlt_load_id::numeric
        and newer._dlt_load_id = any(%(group)s)
        and older._dlt_load_id = any(%(group)s)
        and newer."timestamp" between %(first_at)s and %(last_at)s
        and older."timestamp" between %(first_at)s and %(last_at)s
    """,
    """
    update deribit_raw.candles
    set _dlt_load_id = %(largest)s
    where _dlt_load_id = any(%(small)s)
        and "timestamp" between %(first_at)s and %(last_at)s
    """,
    """
    create temporary table merged_days on commit drop as
    select distinct instrument, resolution, day
    from quality.loaded_days
    where load_id = any(%(small)s)
    """,
    """
    delete from quality.loaded_days as counted
    using merged_days
    where counted.load_id = any(%(group)s)
        and counted.instrument = merged_days.instrument
        and counted.resolution = merged_days.resolution
        and counted.day = merged_days.day
    """,
    """
    insert into quality.loaded_days
        (load_id, instrument, resolution, day, candles, rejected, first_at, last_at)
    select %(largest)s, candles.instrument, candles.resolution, merged_days.day, count(*), 0,
        min(candles."timestamp"), max(candles."timestamp")
    from deribit_raw.candles as candles
    inner join merged_days
        on merged_days.instrument = candles.instrument
        and merged_days.resolution = candles.resolution
        and merged_days.day = (candles."timestamp" at time zone 'UTC')::date
    where candles._dlt_load_id = %(largest)s
        and candles."timestamp" >= date_trunc('day', %(first_at)s, 'UTC')
        and candles."timestamp" < date_trunc('day', %(last_at)s, 'UTC') + interval '24 hours'
    group by 2, 3, 4
    """,
    "drop table merged_days",
)

FETCHES = """
    with answers as (
        delete from deribit_raw.fetches
        where _dlt_load_id = any(%(group)s)
        returning
            *,
            case resolution when '1D' then 1440 else resolution::integer end * interval '1 minute' as step
    ),
    judged as (
        select
            *,
            rows * step = window_end - window_start and rows < %(window)s as is_whole
        from answers
    ),
    followed as (
        select
            *,
            max(window_end) over (
                partition by instrument, resolution, source order by window_start, window_end
                rows between unbounded preceding and 1 preceding
            ) as reached
        from judged
        where is_whole
    ),
    numbered as (
        select
            *,
            count(*) filter (where window_start > reached) over (
                partition by instrument, resolution, source order by window_start, window_end
            ) as run
        from followed
    ),
    joined as (
        select
            instrument, resolution, source, min(window_start) as window_start, max(window_end) as window_end,
            extract(epoch from max(window_end) - min(window_start)) / extract(epoch from step) as rows,
            max(fetched_at) as fetched_at
        from numbered
        group by instrument, resolution, source, step, run
        union all
        (
            select distinct on (instrument, resolution, source, window_start, window_end)
                instrument, resolution, source, window_start, window_end, rows, fetched_at
            from judged
            where not is_whole
            order by instrument, resolution, source, window_start, window_end, fetched_at desc
        )
    )
    insert into deribit_raw.fetches
        (instrument, resolution, window_start, window_end, rows, status, fetched_at, source, _dlt_load_id)
    select
        instrument, resolution, window_start, window_end, rows,
        case when rows > 0 then 'ok' else 'no_data' end,
        fetched_at, source, %(largest)s
    from joined
"""
"""Answers with a candle for every bucket become one for as long as they touch; of the others, which tell of
holes, the newest to each window stays."""

BOOKS = (
    # what an audit covered it covered whole: the largest load now has candles of all of them
    """
    update quality.audits
    set loads = array(
        select covered
        from unnest(loads) with ordinality as listed (covered, place)
        where covered <> all(%(small)s)
            and (covered <> %(largest)s or loads @> %(group)s::text[])
        order by place
    )
    where loads && %(group)s::text[]
    """,
    "update deribit_raw.instruments set _dlt_load_id = %(largest)s where _dlt_load_id = any(%(small)s)",
    "delete from deribit_raw._dlt_pipeline_state where _dlt_load_id = any(%(small)s)",
    "update quality.ohlcv_days set last_load = %(largest)s where last_load = any(%(small)s)",
    "update quality.ohlcv_revisions set previous_load = %(largest)s where previous_load = any(%(small)s)",
    "delete from quality.loaded_days where load_id = any(%(small)s)",
    "delete from quality.consumed_loads where load_id = any(%(small)s)",
    "delete from deribit_raw._dlt_loads where load_id = any(%(small)s)",
)

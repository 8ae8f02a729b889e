{{
    config(
        materialized='incremental',
        incremental_strategy='upsert',
        unique_key=['instrument', 'resolution', 'timestamp'],
        on_schema_change='fail',
        full_refresh=false,
        pre_hook=[
            "{{ claim_loads_after('perpetuals_ohlcv') }}",
            "{{ claim_loads_after('exchange_bars', 'ohlcv_reconciliation bars') }}"
        ]
    )
}}

with claimed_loads as (

    {{ claimed_loads('ohlcv_reconciliation') }}

),

claimed_bars as (

    {{ claimed_loads('ohlcv_reconciliation bars') }}

),

resolutions as (

    -- 180 and 360 are left out: when their buckets open is not known
    select
        resolution,
        minutes,
        minutes * interval '1 minute' as step,
        case when minutes < 720 then timestamptz '1970-01-01 00:00+00' else timestamptz '1970-01-01 08:00+00' end as anchor
    from (
        values ('3', 3), ('5', 5), ('10', 10), ('15', 15), ('30', 30), ('60', 60), ('120', 120), ('720', 720), ('1D', 1440)
    ) as resolutions (resolution, minutes)
    where minutes > {{ bucket_minutes() }}
        and minutes % {{ bucket_minutes() }} = 0
        and (minutes < 720 or 480 % {{ bucket_minutes() }} = 0)

),

asked as (

    select
        fetches.instrument::text as instrument,
        resolutions.*,
        fetches.window_start,
        fetches.window_end,
        fetches._dlt_load_id in (select load_id from claimed_bars) as is_new
    from {{ source('deribit_raw', 'fetches') }} as fetches
    inner join resolutions on resolutions.resolution = fetches.resolution
    where fetches._dlt_load_id in (
        select load_id from {{ source('quality', 'consumed_loads') }}
        where model = 'ohlcv_reconciliation bars'
    )

),

asked_new as (

    select * from asked
    where is_new

),

{% if is_incremental() -%}
loaded as (

    {{ loaded_days('claimed_loads') }}

),

asked_again as (

    select
        asked.instrument,
        asked.resolution,
        asked.minutes,
        asked.step,
        asked.anchor,
        greatest(asked.window_start, date_bin(asked.step, loaded.first_at, asked.anchor)) as window_start,
        least(asked.window_end, loaded.last_at + interval '1 microsecond') as window_end
    from asked
    inner join loaded
        on loaded.instrument = asked.instrument
        and date_bin(asked.step, loaded.first_at, asked.anchor) < asked.window_end
        and loaded.last_at >= asked.window_start

),

{% endif -%}
windows as (

    select instrument, resolution, minutes, step, anchor, window_start, window_end from asked_new
    {% if is_incremental() -%}
    union all
    select instrument, resolution, minutes, step, anchor, window_start, window_end from asked_again
    {%- endif %}

),

touched as (

    select distinct
        windows.instrument,
        windows.resolution,
        windows.minutes,
        windows.step,
        buckets.timestamp
    from windows
    cross join lateral generate_series(
        date_bin(windows.step, windows.window_start, windows.anchor),
        windows.window_end,
        windows.step
    ) as buckets (timestamp)
    where buckets.timestamp >= windows.window_start
        and buckets.timestamp < windows.window_end

),

compared as (

    select
        touched.instrument,
        touched.resolution,
        touched.timestamp,
        touched.minutes / {{ bucket_minutes() }} as expected_minutes,
        coalesce(minutes.candles, 0)::integer as minutes,
        minutes.open,
        minutes.high,
        minutes.low,
        minutes.close,
        minutes.volume,
        bars.timestamp is not null as has_bar,
        bars.open as exchange_open,
        bars.high as exchange_high,
        bars.low as exchange_low,
        bars.close as exchange_close,
        bars.volume as exchange_volume,
        -- whether fills count in Deribit's own bars is not known: either answer is taken
        concat_ws(
            ',',
            case when bars.open not in (minutes.open, coalesce(minutes.traded_open, minutes.open)) then 'open' end,
            case when bars.high not in (minutes.high, coalesce(minutes.traded_high, minutes.high)) then 'high' end,
            case when bars.low not in (minutes.low, coalesce(minutes.traded_low, minutes.low)) then 'low' end,
            case when bars.close <> minutes.close then 'close' end,
            case
                when abs(bars.volume - minutes.volume)
                > greatest(1e-8 * greatest(abs(bars.volume), abs(minutes.volume)), minutes.candles * 5e-9)
                then 'volume'
            end
        ) as differing_columns
    from touched
    left join {{ ref('exchange_bars') }} as bars
        on bars.instrument = touched.instrument
        and bars.resolution = touched.resolution
        and bars.timestamp = touched.timestamp
    cross join lateral (
        select
            count(*) as candles,
            first(open, timestamp)::numeric(18, 8) as open,
            max(high)::numeric(18, 8) as high,
            min(low)::numeric(18, 8) as low,
            last(close, timestamp)::numeric(18, 8) as close,
            sum(volume)::numeric(38, 8) as volume,
            first(open, timestamp) filter (where volume <> 0) as traded_open,
            max(high) filter (where volume <> 0) as traded_high,
            min(low) filter (where volume <> 0) as traded_low
        from {{ ref('perpetuals_ohlcv') }}
        where instrument = touched.instrument
            and timestamp >= touched.timestamp
            and timestamp < touched.timestamp + touched.step
    ) as minutes

),

final as (

    select
        instrument,
        resolution,
        timestamp,
        case
            when not has_bar then 'missing_at_deribit'
            when minutes = 0 then 'missing_in_minutes'
            when differing_columns <> '' then 'different'
            else 'identical'
        end as status,
        case when has_bar and minutes > 0 then nullif(differing_columns, '') end as differing_columns,
        minutes,
        expected_minutes,
        open,
        high,
        low,
        close,
        volume,
        exchange_open,
        exchange_high,
        exchange_low,
        exchange_close,
        exchange_volume
    from compared
    where has_bar
        or minutes > 0

)

select * from final

{{ config(materialized='hypertable', meta={'reads': 'both', 'grain_minutes': 1440, 'anchor': '08'}) }}

with resolutions as (

    -- without 180 and 360: it is not known when their buckets open
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

bars as (

    select * from {{ ref('exchange_bars') }}
    where {{ in_range() }}
        and resolution in (select resolution from resolutions)

),

-- a fetch without a candle for a bucket shows that Deribit had none
fetched as (

    select distinct
        fetches.instrument,
        resolutions.resolution,
        buckets.timestamp
    from {{ ref('stg_fetches') }} as fetches
    inner join resolutions on resolutions.resolution = fetches.resolution
    cross join lateral generate_series(
        date_bin(resolutions.step, fetches.window_start, resolutions.anchor),
        fetches.window_end - interval '1 microsecond',
        resolutions.step
    ) as buckets (timestamp)
    where buckets.timestamp >= fetches.window_start
        and {{ in_range('buckets.timestamp', 'fetches') }}

),

touched as (

    select
        instrument,
        resolution,
        timestamp
    from fetched

    union

    select
        instrument,
        resolution,
        timestamp
    from bars

),

sent as (

    select * from {{ ref('stg_inexact_candles') }}
    where {{ in_range() }}
        and exists (select from touched)

),

-- prices with all the decimals that Deribit sent: two prices that the table rounds to the same value are not equal
candles as (

    select
        candles.timestamp,
        candles.instrument,
        coalesce({{ as_sent('sent.open') }}, candles.open) as open,
        coalesce({{ as_sent('sent.high') }}, candles.high) as high,
        coalesce({{ as_sent('sent.low') }}, candles.low) as low,
        coalesce({{ as_sent('sent.close') }}, candles.close) as close,
        candles.volume
    from {{ ref('perpetuals_ohlcv') }} as candles
    left join sent
        on {{ is_table_version('sent', 'candles') | indent(8) }}
    where {{ in_range('candles.timestamp', 'candles') }}
        and exists (select from touched)

),

-- adds the candles up once for each fetched resolution, whatever the number of buckets
added_up as (

    select
        candles.instrument,
        resolutions.resolution,
        date_bin(resolutions.step, candles.timestamp, resolutions.anchor) as timestamp,
        count(*)::integer as candles,
        first(candles.open, candles.timestamp)::numeric as open,
        max(candles.high)::numeric as high,
        min(candles.low)::numeric as low,
        last(candles.close, candles.timestamp)::numeric as close,
        sum(candles.volume)::numeric(38, 8) as volume,
        first(candles.open, candles.timestamp) filter (where candles.volume <> 0) as traded_open,
        max(candles.high) filter (where candles.volume <> 0) as traded_high,
        min(candles.low) filter (where candles.volume <> 0) as traded_low
    from candles
    cross join resolutions
    where resolutions.resolution in (select resolution from touched)
    group by 1, 2, 3

),

compared as (

    select
        touched.instrument,
        touched.resolution,
        touched.timestamp,
        resolutions.minutes / {{ bucket_minutes() }} as expected_minutes,
        coalesce(minutes.candles, 0) as minutes,
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
        -- it is not known whether Deribit's own candles include fills, so both are accepted
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
    inner join resolutions on resolutions.resolution = touched.resolution
    left join bars
        on bars.instrument = touched.instrument
        and bars.resolution = touched.resolution
        and bars.timestamp = touched.timestamp
    left join added_up as minutes
        on minutes.instrument = touched.instrument
        and minutes.resolution = touched.resolution
        and minutes.timestamp = touched.timestamp

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

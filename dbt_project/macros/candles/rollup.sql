{% macro can_roll_up(minutes, anchor='00') -%}
    {%- set base = bucket_minutes() -%}
    {{ return(
        minutes > base
        and minutes % base == 0
        and base_resolution() not in ['180', '360']
        and (base != 720 or anchor == '08')
    ) }}
{%- endmacro %}


{% macro all_rollups() -%}
    {%- set found = [] -%}
    {%- for name, minutes, anchor in [
        ('5m', 5, '00'), ('15m', 15, '00'), ('1h', 60, '00'), ('4h', 240, '00'), ('1d', 1440, '00'), ('1d_settlement', 1440, '08')
    ] if can_roll_up(minutes, anchor) -%}
        {%- do found.append({'model': 'perpetuals_ohlcv_' ~ name, 'minutes': minutes, 'anchor': anchor}) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}


{#- The coarsest model that a rollup can be computed from: a finer rollup, if the base resolution has one. -#}
{% macro rollup_source(minutes) -%}
    {%- set finer = all_rollups() | selectattr('minutes', 'lt', minutes) | list -%}
    {{ return(finer[-1] if finer else {'model': 'perpetuals_ohlcv', 'minutes': bucket_minutes()}) }}
{%- endmacro %}


{% macro rollup(minutes, anchor='00') -%}
{%- set upstream = rollup_source(minutes) -%}
with finer as (

    select
        *,
        {{ bucket_open('timestamp', minutes, anchor) }} as bucket
    from {{ ref(upstream.model) }}
    where {{ in_range() }}

),

rolled as (

    select
        bucket as timestamp,
        instrument,
        first(open, timestamp)::numeric(18, 8) as open,
        max(high)::numeric(18, 8) as high,
        min(low)::numeric(18, 8) as low,
        last(close, timestamp)::numeric(18, 8) as close,
        sum(volume)::numeric(38, 8) as volume,
        {{ 'count(*)' if upstream.model == 'perpetuals_ohlcv' else 'sum(candles)' }}::integer as candles
    from finer
    group by bucket, instrument

),

final as (

    select
        *,
        candles = {{ minutes // bucket_minutes() }} as complete
    from rolled

)

select * from final
{%- endmacro %}

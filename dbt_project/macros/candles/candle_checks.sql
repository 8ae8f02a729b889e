{% macro gaps_sql(relation, instrument_column='instrument', timestamp_column='timestamp', wider_than_minutes=none) -%}
    {%- set at_least = [wider_than_minutes or 0, bucket_minutes()] | max -%}
    select
        {{ instrument_column }} as instrument,
        previous_timestamp as gap_start,
        {{ timestamp_column }} as gap_end,
        (extract(epoch from {{ timestamp_column }} - previous_timestamp) / 60)::integer - {{ bucket_minutes() }} as gap_minutes
    from (
        select
            {{ instrument_column }},
            {{ timestamp_column }},
            lag({{ timestamp_column }}) over (partition by {{ instrument_column }} order by {{ timestamp_column }}) as previous_timestamp
        from {{ relation }}
    ) as neighbours
    where {{ timestamp_column }} - previous_timestamp > interval '{{ at_least }} minutes'
{%- endmacro %}


{% macro ohlcv_rules() -%}
    {{ return({
        'high_below_low': 'high < low',
        'open_outside_range': 'low <= high and open not between low and high',
        'close_outside_range': 'low <= high and close not between low and high',
        'price_not_positive': 'least(open, high, low, close) <= 0',
        'volume_negative': 'volume < 0',
    }) }}
{%- endmacro %}


{% macro violations_sql(relation) -%}
    {%- set rules = ohlcv_rules() -%}
    select
        candles.timestamp,
        candles.instrument,
        candles.open,
        candles.high,
        candles.low,
        candles.close,
        candles.volume,
        rules.rule
    from {{ relation }} as candles
    cross join lateral (
        values
        {%- for rule, condition in rules.items() %}
            ('{{ rule }}', {{ condition }}){{ ',' if not loop.last }}
        {%- endfor %}
    ) as rules (rule, broken)
    where rules.broken
        and (({{ rules.values() | join(') or (') }}))
{%- endmacro %}


{% macro count_violations() -%}
    {%- set rules = ohlcv_rules() -%}
    {#- of a sound candle; where a rule is not here, its own condition is used, which takes longer -#}
    {%- set cheaper = {
        'high_below_low': 'true',
        'open_outside_range': 'open between low and high',
        'close_outside_range': 'close between low and high',
        'price_not_positive': 'low > 0',
    } -%}
    {%- set sound = [] -%}
    {%- for rule, broken in rules.items() -%}
        {%- do sound.append(cheaper.get(rule, 'not (' ~ broken ~ ')')) -%}
    {%- endfor -%}
    coalesce(
        sum(({{ rules.values() | join(')::integer + (') }})::integer) filter (
            where not ({{ sound | join(' and ') }})
        ),
        0
    )
{%- endmacro %}


{% macro coverage_sql(relation, instrument_column='instrument', timestamp_column='timestamp') -%}
    select
        instrument,
        candles,
        first_candle,
        last_candle,
        expected,
        expected - candles as missing,
        trunc(100.0 * candles / expected, 4) as coverage_percent
    from (
        select
            {{ instrument_column }} as instrument,
            count(*) as candles,
            min({{ timestamp_column }}) as first_candle,
            max({{ timestamp_column }}) as last_candle,
            (extract(epoch from max({{ timestamp_column }}) - min({{ timestamp_column }})) / {{ bucket_minutes() * 60 }})::bigint + 1 as expected
        from {{ relation }}
        group by 1
    ) as spans
{%- endmacro %}

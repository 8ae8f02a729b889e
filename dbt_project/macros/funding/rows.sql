{#- Why a row of stg_funding cannot be true; null if it can. interest_8h and prev_index_price may be null: an instrument's first row has no
    hour before it. -#}
{% macro funding_rejection() -%}
    {%- set values = ['interest_1h', 'interest_8h', 'index_price', 'prev_index_price'] -%}
    case
        when num_nulls(interest_1h, index_price) > 0 then 'missing_value'
        {{ not_finite(values) | indent(8) }}
        when least(index_price, prev_index_price) <= 0 then 'price_not_positive'
        -- the whole position in an hour
        when abs(interest_1h) >= 1 then 'too_large'
        when {{ bucket_open('timestamp', minutes=60, anchor='00') }} <> timestamp then 'off_grid'
    end
{%- endmacro %}


{#- Why a row of stg_settlements cannot be true; null if it can. -#}
{% macro settlement_rejection() -%}
    {%- set values = ['open_interest', 'mark_price', 'index_price', 'profit_loss', 'session_profit_loss'] -%}
    case
        when num_nulls(open_interest, mark_price) > 0 then 'missing_value'
        {{ not_finite(values) | indent(8) }}
        when least(mark_price, index_price) <= 0 then 'price_not_positive'
        when open_interest < 0 then 'open_interest_negative'
    end
{%- endmacro %}


{% macro not_finite(values) -%}
    when 'NaN'::double precision in ({{ values | join(', ') }}) then 'not_a_number'
    when 'Infinity'::double precision in (abs({{ values | join('), abs(') }})) then 'infinite'
{%- endmacro %}


{% macro settlement_day_open(time) -%}
    {{ bucket_open(time, minutes=1440, anchor='08') }}
{%- endmacro %}

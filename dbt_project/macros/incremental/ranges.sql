{#- Condition for a model: literal bounds of the range that is being built. Outside of a build it is true, and for dbt show it is the
    newest day. It must not be indented by a filter: a name may have a line break. -#}
{% macro in_range(time='timestamp', table=none) -%}
    {%- set range = model.get('range') -%}
    {%- if range -%}
    {{ within(range, time, table) }}
    {%- elif execute and flags.WHICH == 'show' -%}
    {{ time }} >= (select max(window_end) - interval '1 day' from {{ source('deribit_raw', 'fetches') }})
    {%- else -%}
    true
    {%- endif -%}
{%- endmacro %}


{% macro within(range, time, table=none) -%}
    {{ time }} >= '{{ range.starts_at }}'
    and {{ time }} < '{{ range.ends_at }}'
    and {{ table ~ '.' if table else '' }}instrument in ({{ literals(range.instruments) }})
{%- endmacro %}


{% macro literals(texts) -%}
    {%- set quoted = [] -%}
    {%- for text in texts -%}
        {%- do quoted.append("'" ~ text | replace("'", "''") ~ "'") -%}
    {%- endfor -%}
    {{ return(quoted | join(', ')) }}
{%- endmacro %}


{#- What loads in (read_after, read_to] touched, as ranges to build one after the other. Each range has at most one chunk (of the
    Apache edition; shorter ones would read each raw chunk several times) and some hundred thousand candles; untouched days split
    ranges. -#}
{% macro touched_ranges(mark, options, in_raw=false) -%}
    {%- set origin = "timestamptz '1970-01-01 " ~ options.anchor ~ ":00+00'" -%}
    {%- set chunk = "interval '" ~ options.chunk_interval ~ "'" -%}
    {%- set grain = "interval '" ~ options.grain_minutes ~ " minutes'" -%}
    {%- set query -%}
        with touched as (

            {{ touched_by_fetches(mark, options) }}
            {% if in_raw -%}
            union all
            {{ touched_in_raw(mark, options) }}
            {%- endif %}

        ),

        aligned as (

            select
                instrument,
                date_bin({{ grain }}, starts_at, {{ origin }}) as starts_at,
                date_bin({{ grain }}, ends_at - interval '1 microsecond', {{ origin }}) + {{ grain }} as ends_at
            from touched

        ),

        joined as (

            select
                instrument,
                unnest(range_agg(tstzrange(starts_at, ends_at))) as times
            from aligned
            group by instrument

        ),

        chunked as (

            select
                joined.instrument,
                chunks.opens_at as chunk,
                greatest(lower(joined.times), chunks.opens_at) as starts_at,
                least(upper(joined.times), chunks.opens_at + {{ chunk }}) as ends_at
            from joined
            cross join lateral generate_series(
                date_bin({{ chunk }}, lower(joined.times), {{ origin }}),
                upper(joined.times) - interval '1 microsecond',
                {{ chunk }}
            ) as chunks (opens_at)

        ),

        batches as (

            select
                chunk,
                greatest(1, {{ options.candles_at_once }} / count(distinct instrument) / {{ options.rows_a_day or 1440 // bucket_minutes() }}) * interval '1 day'
                    as length
            from chunked
            group by chunk

        ),

        pieces as (

            select
                chunked.instrument,
                pieces.opens_at as piece,
                greatest(chunked.starts_at, pieces.opens_at) as starts_at,
                least(chunked.ends_at, pieces.opens_at + batches.length) as ends_at
            from chunked
            inner join batches on batches.chunk = chunked.chunk
            cross join lateral generate_series(
                date_bin(batches.length, chunked.starts_at, chunked.chunk),
                chunked.ends_at - interval '1 microsecond',
                batches.length
            ) as pieces (opens_at)

        ),

        -- two ranges that are hours apart become one, ranges that are days apart do not
        islands as (

            select
                piece,
                unnest(range_agg(tstzrange(starts_at - interval '12 hours', ends_at + interval '12 hours'))) as times
            from pieces
            group by piece

        ),

        ranges as (

            select
                min(pieces.starts_at) at time zone 'UTC' || '+00' as starts_at,
                max(pieces.ends_at) at time zone 'UTC' || '+00' as ends_at,
                json_agg(distinct pieces.instrument)::text as instruments
            from islands
            inner join pieces
                on pieces.piece = islands.piece
                and islands.times @> pieces.starts_at
            group by islands.piece, islands.times

        )

        -- in one statement, because a load that completes in the meantime may delete fetches
        select
            ranges.*,
            fetches.are_whole
        from ({{ has_all_fetches(mark) }}) as fetches
        left join ranges on true
        order by ranges.starts_at
    {%- endset -%}
    {%- set rows = run_query(query).rows -%}
    {%- if not in_raw and not rows[0].are_whole -%}
        {{ return(touched_ranges(mark, options, in_raw=true)) }}
    {%- endif -%}
    {%- set ranges = [] -%}
    {%- for row in rows if row.instruments -%}
        {%- do ranges.append({'starts_at': row.starts_at, 'ends_at': row.ends_at, 'instruments': fromjson(row.instruments)}) -%}
    {%- endfor -%}
    {{ return(ranges) }}
{%- endmacro %}


{#- Fetches without a missing candle are deleted after three days (FETCHES_KEPT in extract/database/cleaning.py): a model with an older
    watermark cannot rely on fetches. -#}
{% macro has_all_fetches(mark) -%}
    select not exists (
        select from {{ source('deribit_raw', '_dlt_loads') }}
        where status = 0
            and load_id::numeric > {{ mark.read_after }}
            and load_id::numeric < (
                select max(load_id::numeric) - {{ 3 * 86400 }} from {{ source('deribit_raw', '_dlt_loads') }}
                where status = 0
            )
    ) as are_whole
{%- endmacro %}


{#- What a model reads: which rows of fetches touch it, and which rows of which raw tables (where fetches do not reach back). -#}
{% macro what_is_read(reads) -%}
    {%- set base, landed = "resolution = '" ~ base_resolution() ~ "'", 'new_rows + changed_rows > 0' -%}
    {{ return({
        'candles': {'fetches': base ~ ' and ' ~ landed, 'raw': {'candles': base}},
        'changes': {'fetches': base ~ ' and changed_rows > 0', 'raw': {'candles': base}},
        'bars': {'fetches': 'not ' ~ base ~ ' and ' ~ landed, 'raw': {'candles': 'not ' ~ base}},
        'both': {'fetches': '(not ' ~ base ~ ' or ' ~ base ~ ' and ' ~ landed ~ ')', 'raw': {'candles': 'true'}},
        'funding': {'fetches': "endpoint = 'funding' and " ~ landed, 'raw': {'funding': 'true'}},
        'settlements': {'fetches': "endpoint = 'settlements' and " ~ landed, 'raw': {'settlements': 'true'}},
        'rows': {
            'fetches': "endpoint in ('funding', 'settlements') and " ~ landed, 'raw': {'funding': 'true', 'settlements': 'true'}
        },
    }[reads]) }}
{%- endmacro %}


{% macro touched_by_fetches(mark, options) -%}
    select
        instrument,
        window_start as starts_at,
        window_end as ends_at
    from {{ source('deribit_raw', 'fetches') }}
    where _dlt_load_id::numeric > {{ mark.read_after }}
        and _dlt_load_id::numeric <= {{ mark.read_to }}
        and {{ what_is_read(options.reads).fetches }}
{%- endmacro %}


{% macro touched_in_raw(mark, options) -%}
    {%- for table, condition in what_is_read(options.reads).raw.items() -%}
    select
        instrument,
        min(timestamp) as starts_at,
        max(timestamp) + interval '1 millisecond' as ends_at
    from {{ source('deribit_raw', table) }}
    where _dlt_load_id::numeric > {{ mark.read_after }}
        and _dlt_load_id::numeric <= {{ mark.read_to }}
        and {{ condition }}
    group by
        instrument,
        {{ bucket_open('timestamp', minutes=1440, anchor=options.anchor) }}
    {{ 'union all' if not loop.last }}
    {% endfor -%}
{%- endmacro %}

{% macro create_loaded_days() -%}
    {%- if execute and run_query("select to_regclass('quality.loaded_days') is null").columns[0].values()[0] -%}
        select pg_advisory_xact_lock(hashtext('quality.consumed_loads'), 0);
        create table if not exists quality.loaded_days (
            load_id text not null,
            instrument text not null,
            resolution text not null,
            day date not null,
            candles integer not null,
            rejected integer not null,
            first_at timestamptz not null,
            last_at timestamptz not null,
            primary key (load_id, instrument, resolution, day)
        );
        create index if not exists loaded_days_day on quality.loaded_days (instrument, day);
        -- whatever was counted before went with the table
        delete from quality.consumed_loads where model = 'loaded_days';
    {%- endif -%}
{%- endmacro %}


{% macro count_loads() -%}
    {%- set counted = "select load_id from quality.consumed_loads where model = 'loaded_days'"
        ~ " and resolution = '" ~ base_resolution() ~ "' and claimed_by is not null" -%}
    {%- set uncounted = "select load_id from " ~ source('deribit_raw', '_dlt_loads') ~ " where status = 0 except " ~ counted -%}
    {%- if execute and run_query("select exists (" ~ uncounted ~ ")").columns[0].values()[0] -%}
        select pg_advisory_xact_lock(hashtext('quality.consumed_loads'), hashtext('loaded_days'));

        {{ forget_outdated(uncounted) }}

        insert into quality.consumed_loads (model, resolution, load_id)
        select
            'loaded_days',
            '{{ base_resolution() }}',
            load_id
        from ({{ uncounted }}) as uncounted
        on conflict (model, load_id) do update set
            resolution = excluded.resolution,
            claimed_by = pg_current_xact_id(),
            consumed_at = now();

        delete from quality.loaded_days
        where load_id in ({{ claimed_loads('loaded_days') }});

        -- without statistics the server would sort every candle to group them
        set local enable_sort = off;

        with claimed_loads as (

            {{ claimed_loads('loaded_days') }}

        ),

        -- candles lie within the windows of their load, which tell the chunks to read; all of them if a load has none
        asked as (

            select
                case when count(distinct _dlt_load_id) = (select count(*) from claimed_loads) then min(window_start) else '-infinity' end
                    as first_at,
                case when count(distinct _dlt_load_id) = (select count(*) from claimed_loads) then max(window_end) else 'infinity' end
                    as last_at
            from {{ source('deribit_raw', 'fetches') }}
            where _dlt_load_id in (select load_id from claimed_loads)

        )

        insert into quality.loaded_days
        select
            load_id,
            instrument,
            resolution,
            {{ utc_day('day_opens_at') }},
            candles,
            rejected,
            first_at,
            last_at
        from (
            -- a bin is told from another in a fraction of the time that a date in a time zone takes
            select
                _dlt_load_id as load_id,
                instrument,
                resolution,
                {{ bucket_open('timestamp', minutes=1440, anchor='00') }} as day_opens_at,
                count(*) as candles,
                count(*) filter (where resolution = '{{ base_resolution() }}' and not {{ is_usable() }}) as rejected,
                min(timestamp) as first_at,
                max(timestamp) as last_at
            from {{ source('deribit_raw', 'candles') }}
            where {{ hashed_in('_dlt_load_id', 'claimed_loads', 'load_id') }}
                and _dlt_load_id between (select min(load_id) from claimed_loads) and (select max(load_id) from claimed_loads)
                and timestamp between (select first_at from asked) and (select last_at from asked)
            group by 1, 2, 3, 4
        ) as counted;

        set local enable_sort = on;
    {%- endif -%}
{%- endmacro %}


{% macro counted_loads() -%}
    select load_id
    from quality.consumed_loads
    where model = 'loaded_days'
        and resolution = '{{ base_resolution() }}'
        and claimed_by is not null
{%- endmacro %}


{% macro loaded_days(loads) -%}
    select loaded_days.*
    from {{ source('quality', 'loaded_days') }} as loaded_days
    where loaded_days.resolution = '{{ base_resolution() }}'
        and loaded_days.load_id in (select load_id from {{ loads }})
{%- endmacro %}


{% macro loaded_ranges(chunk_interval) -%}
    {%- set query -%}
        with claimed_loads as (

            {{ claimed_loads(this.identifier) }}

        ),

        loaded as (

            {{ loaded_days('claimed_loads') }}

        ),

        days as (

            select
                date_bin(interval '{{ chunk_interval }}', min(first_at), timestamptz '1970-01-01 00:00+00') as chunk,
                min(first_at) as first_at,
                max(last_at) as last_at,
                sum(candles) as candles
            from loaded
            group by day

        ),

        numbered as (

            select
                *,
                ceil(sum(candles) over (partition by chunk order by first_at) / 200000) as batch
            from days

        )

        select
            min(first_at) at time zone 'UTC' || '+00' as first_at,
            max(last_at) at time zone 'UTC' || '+00' as last_at,
            sum(candles)::bigint as candles
        from numbered
        group by chunk, batch
        order by chunk, batch
    {%- endset -%}
    {{ return(run_query(query).rows | list) }}
{%- endmacro %}

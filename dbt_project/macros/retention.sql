{% macro create_dropped_raw() -%}
    {%- if execute and run_query("select to_regclass('quality.dropped_raw') is null").columns[0].values()[0] -%}
        select pg_advisory_xact_lock(hashtext('quality.consumed_loads'), 0);
        create schema if not exists quality;
        create table if not exists quality.dropped_raw (
            range_start timestamptz not null,
            range_end timestamptz not null,
            newest_load text not null,
            candles bigint not null,
            dropped_at timestamptz not null,
            primary key (range_start, dropped_at)
        );
    {%- endif -%}
{%- endmacro %}


{% macro expect_undroppable_tables() -%}
    {%- if execute and has_dropped_raw() -%}
        {%- set needed = [
            'public.perpetuals_ohlcv', 'quality.exchange_bars', 'quality.loaded_days', 'quality.ohlcv_revisions', 'quality.rejected_candles'
        ] -%}
        {%- set missing = run_query(
            "select string_agg(name, ', ') from unnest(array['" ~ needed | join("', '") ~ "']) as name where to_regclass(name) is null"
        ).columns[0].values()[0] -%}
        {%- if missing -%}
            {{ exceptions.raise_compiler_error(
                "expected the tables whose raw candles raw_retention dropped, got none named " ~ missing
                ~ "; restore a backup, or load the times in quality.dropped_raw again with perps backfill, then delete its rows"
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{% macro has_dropped_raw() -%}
    {{ return(
        run_query("select to_regclass('quality.dropped_raw') is not null").columns[0].values()[0]
        and run_query("select exists (select from quality.dropped_raw)").columns[0].values()[0]
    ) }}
{%- endmacro %}


{% macro is_dropped(load_column, first_at, last_at=none) -%}
    exists (
        select from quality.dropped_raw as dropped
        where dropped.range_start <= {{ last_at or first_at }}
            and dropped.range_end > {{ first_at }}
            {% if load_column -%}
            and dropped.newest_load::numeric >= {{ load_column }}::numeric
            {%- endif %}
    )
{%- endmacro %}


{% macro forget_outdated(loads) -%}
    {%- set query -%}
        select
            dropped.range_start at time zone 'UTC' || '+00' as range_start,
            dropped.range_end at time zone 'UTC' || '+00' as range_end,
            string_agg(loads.load_id, ''', ''') as load_ids
        from quality.dropped_raw as dropped
        inner join ({{ loads }}) as loads on loads.load_id::numeric <= dropped.newest_load::numeric
        group by dropped.range_start, dropped.range_end
    {%- endset -%}
    {%- if has_dropped_raw() -%}
        {% for range in run_query(query).rows -%}
        {{ allow_decompression() }}
        delete from {{ source('deribit_raw', 'candles') }} as late
        where late._dlt_load_id in ('{{ range.load_ids }}')
            and late.timestamp >= timestamptz '{{ range.range_start }}'
            and late.timestamp < timestamptz '{{ range.range_end }}'
            and (
                exists (
                    select from public.perpetuals_ohlcv as held
                    where late.resolution = '{{ base_resolution() }}'
                        and held.instrument = late.instrument
                        and held.timestamp = late.timestamp
                        and held.timestamp >= timestamptz '{{ range.range_start }}'
                        and held.timestamp < timestamptz '{{ range.range_end }}'
                )
                or exists (
                    select from quality.exchange_bars as held
                    where held.instrument = late.instrument
                        and held.resolution = late.resolution
                        and held.timestamp = late.timestamp
                )
            );
        {% endfor -%}
    {%- endif -%}
{%- endmacro %}


{% macro drop_raw() -%}
    {%- if execute and flags.WHICH == 'build' and var('raw_retention') != 'forever' -%}
        {%- set relations = ['public.perpetuals_ohlcv', 'quality.ohlcv_gaps', 'quality.rejected_candles'] -%}
        {%- set built = run_query(
            "select bool_and(to_regclass(name) is not null) from unnest(array['" ~ relations | join("', '") ~ "']) as name"
        ).columns[0].values()[0] -%}
        {%- if built -%}
            {%- set before = run_query('select clock_timestamp()::text').columns[0].values()[0] -%}
            {%- if run_query(droppable_chunks()).rows | length > 0 -%}
                {%- do run_query('commit') -%}
                {%- do run_query(drop_chunk_by_chunk()) -%}
            {%- endif -%}
            {%- for range in run_query(
                "select (range_start at time zone 'UTC')::date as first_day, (range_end at time zone 'UTC')::date as end_day, candles"
                ~ " from quality.dropped_raw where dropped_at >= timestamptz '" ~ before ~ "' order by range_start"
            ).rows -%}
                {{ log(
                    "dropped " ~ range.candles ~ " raw candles from " ~ range.first_day ~ " to before " ~ range.end_day
                    ~ ", built and audited " ~ var('raw_retention') ~ " ago or earlier", info=true
                ) }}
            {%- endfor -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{% macro audited_loads() -%}
    select settled.load_id
    from ({{ settled_loads() | indent(4) }}) as settled
    where settled.load_id = any (
        (
            select audits.loads
            from quality.audits as audits
            where audits.passed_at <= now() - interval '{{ var('raw_retention') }}'
            order by audits.started_at desc
            limit 1
        )::text[]
    )
{%- endmacro %}


{% macro droppable_chunks() -%}
    with audited as materialized (

        {{ audited_loads() | indent(8) }}

    ),

    -- the days that a load brought which is not settled, not audited, or not long enough ago
    waiting as materialized (

        select
            first_at,
            last_at
        from quality.loaded_days
        where load_id not in (select load_id from audited)

    ),

    chunks as (

        select
            format('%I.%I', chunk_schema, chunk_name)::regclass as chunk,
            range_start,
            range_end
        from timescaledb_information.chunks
        where hypertable_schema = 'deribit_raw'
            and hypertable_name = 'candles'

    ),

    -- a chunk that nobody waits for; the others are the fewer
    settled as materialized (

        select * from chunks
        where not exists (
            select from waiting
            where waiting.first_at < chunks.range_end
                and waiting.last_at >= chunks.range_start
        )
        and (
            select passed_at is not null
            from quality.audits
            order by started_at desc
            limit 1
        )

    ),

    -- its minute has no candle: a later version of the rules may take it
    unusable as materialized (

        select rejected.timestamp
        from quality.rejected_candles as rejected
        where exists (select from settled)
            and not exists (
                select from public.perpetuals_ohlcv as held
                where held.instrument = rejected.instrument
                    and held.timestamp = rejected.timestamp
            )

    ),

    gaps as materialized (

        select
            gap_start,
            gap_end
        from quality.ohlcv_gaps
        where reason = 'unfetched'
            and exists (select from settled)

    ),

    final as (

        select * from settled
        where not exists (
            select from unusable
            where unusable.timestamp >= settled.range_start
                and unusable.timestamp < settled.range_end
        )
        and not exists (
            select from gaps
            where gaps.gap_start < settled.range_end
                and gaps.gap_end > settled.range_start
        )

    )

    select
        *,
        chunk::text as name
    from final
    order by range_start
{%- endmacro %}


{% macro drop_chunk_by_chunk() -%}
    do $drop$
    declare
        droppable record;
        contents record;
        dropped text;
    begin
        for droppable in
            {{ droppable_chunks() | indent(12) }}
        loop
            begin
                set local lock_timeout = '5s';
                -- no model claims and no merge of loads moves what is looked at; no load lands in the chunk until it is gone
                if not (
                    select bool_and(pg_try_advisory_xact_lock(hashtext('quality.consumed_loads'), hashtext(claimant)))
                    from unnest(array['{{ claimants() | join("', '") }}']) as claimant
                ) then
                    raise lock_not_available using message = 'another build or a load is at work';
                end if;
                lock table {{ source('deribit_raw', 'candles') }} in share row exclusive mode nowait;
                -- loads, and not what was counted of them: candles of a killed one are in no other table
                execute format(
                    'select max(_dlt_load_id::numeric)::text as newest_load, sum(candles)::bigint as candles,'
                    ' bool_and(_dlt_load_id in ({{ audited_loads() | replace("'", "''") }})) as is_audited'
                    ' from (select _dlt_load_id, count(*) as candles from %s group by 1) as loads',
                    droppable.chunk
                ) into contents;
                if contents.is_audited and droppable.chunk in (
                    select still.chunk from ({{ droppable_chunks() | indent(20) }}) as still
                ) then
                    insert into quality.dropped_raw (range_start, range_end, newest_load, candles, dropped_at)
                    values (droppable.range_start, droppable.range_end, contents.newest_load, contents.candles, clock_timestamp());
                    execute format(
                        'select string_agg(chunk, '', '') from drop_chunks(%L,'
                        ' older_than => %L::timestamptz, newer_than => %L::timestamptz) as chunk',
                        'deribit_raw.candles', droppable.range_end, droppable.range_start
                    ) into dropped;
                    if dropped is distinct from droppable.name then
                        raise exception 'expected to drop % alone, got %; nothing was dropped', droppable.name, dropped;
                    end if;
                end if;
            exception when lock_not_available then
                raise warning 'left the raw candles from % as they are: %', droppable.range_start, sqlerrm;
            end;
            commit;
        end loop;
    end
    $drop$
{%- endmacro %}

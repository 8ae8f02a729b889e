{% macro expect_raw_tables() -%}
    {%- if execute -%}
        {%- if flags.EMPTY -%}
            {{ exceptions.raise_compiler_error(
                "expected a command that reads rows, got --empty; leave it out, or loads would count as read that were not"
            ) }}
        {%- endif -%}
        {%- set missing = run_query(
            "select string_agg(name, ', ') from unnest(array['candles', 'fetches', 'instruments', '_dlt_loads']) as name "
            ~ "where to_regclass('deribit_raw.' || name) is null"
        ).columns[0].values()[0] -%}
        {%- if missing -%}
            {{ exceptions.raise_compiler_error(
                "expected the raw tables in schema deribit_raw of database " ~ target.dbname ~ ", got none named " ~ missing
                ~ "; load candles first, for example with perps backfill"
            ) }}
        {%- endif -%}
        {%- if run_query("select count(*) from pg_extension where extname = 'timescaledb'").columns[0].values()[0] == 0 -%}
            {{ exceptions.raise_compiler_error(
                "expected the extension timescaledb in database " ~ target.dbname ~ ", got none; create extension timescaledb there"
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{% macro create_consumed_loads() -%}
    {%- set complete = "select count(*) = 1 from information_schema.columns where table_schema = 'quality' "
        ~ "and table_name = 'consumed_loads' and column_name = 'follows'" -%}
    {%- if execute and not run_query(complete).columns[0].values()[0] -%}
        select pg_advisory_xact_lock(hashtext('quality.consumed_loads'), 0);
        create schema if not exists quality;
        create table if not exists quality.consumed_loads (
            model text not null,
            resolution text not null,
            load_id text not null,
            consumed_at timestamptz not null default now(),
            claimed_by xid8 default pg_current_xact_id(),
            primary key (model, load_id)
        );
        alter table quality.consumed_loads add column if not exists follows xid8;
    {%- endif -%}
{%- endmacro %}


{% macro adopt_consumed_loads() -%}
    {#- no transaction of a server gets that far: what is above is a name for "restored", one a model -#}
    {%- set names = "9223372036854775808" -%}
    {%- set restored = "claimed_by < '" ~ names ~ "'::xid8 and claimed_by::xid <> xmin" -%}
    {%- if execute and run_query("select to_regclass('quality.consumed_loads') is not null").columns[0].values()[0]
        and run_query("select exists (select from quality.consumed_loads where " ~ restored ~ ")").columns[0].values()[0] -%}
        select pg_advisory_xact_lock(hashtext('quality.consumed_loads'), 0);

        -- a claim is written by the transaction that it names: whoever wrote one of another's wrote no claims
        with restored as (
            select
                model,
                load_id,
                claimed_by,
                ('{{ names }}'::numeric + 2147483648 + hashtext(model))::text::xid8 as name
            from quality.consumed_loads
            where xmin in (
                select xmin
                from quality.consumed_loads
                where claimed_by >= '{{ names }}'::xid8
                    or claimed_by::xid <> xmin
            )
        ),

        renamed as (
            select
                own.model,
                own.load_id,
                own.claimed_by,
                own.name,
                -- 0 is nobody's: what had not been followed then is followed now
                coalesce(min(upstream.name), '0'::xid8) as follows
            from restored as own
            inner join quality.consumed_loads as claims
                on claims.model = own.model
                and claims.load_id = own.load_id
            left join restored as upstream
                on upstream.load_id = own.load_id
                and upstream.claimed_by = claims.follows
            group by own.model, own.load_id, own.claimed_by, own.name
        )

        update quality.consumed_loads as claims
        set
            claimed_by = renamed.name,
            follows = case when claims.follows is not null then renamed.follows end
        from renamed
        where renamed.model = claims.model
            and renamed.load_id = claims.load_id
            and renamed.claimed_by = claims.claimed_by;
    {%- endif -%}
{%- endmacro %}


{% macro create_known_gaps() -%}
    {%- if execute and run_query("select to_regclass('quality.known_gaps') is null").columns[0].values()[0] -%}
        create schema if not exists quality;
        create table if not exists quality.known_gaps (
            instrument text,
            gap_start timestamptz,
            gap_end timestamptz,
            reason text,
            evidence text
        );
        {%- do adapter.cache_added(
            api.Relation.create(database=target.database, schema='quality', identifier='known_gaps', type='table')
        ) -%}
    {%- endif -%}
{%- endmacro %}


{% macro expect_one_resolution() -%}
    {%- set built = "select to_regclass('quality.consumed_loads') is not null and to_regclass('public.perpetuals_ohlcv') is not null" -%}
    {%- if execute and run_query(built).columns[0].values()[0] -%}
        {%- set resolution = base_resolution() -%}
        {%- set other = run_query(
            "select min(resolution) from quality.consumed_loads"
            ~ " where model = 'perpetuals_ohlcv' and resolution <> '" ~ resolution ~ "'"
        ).columns[0].values()[0] -%}
        {%- if other -%}
            {{ exceptions.raise_compiler_error(
                "expected base_resolution " ~ other ~ ", which this database was built with, got " ~ resolution
                ~ "; set the variable back or use another database"
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{% macro claim_loads() -%}
    {%- if execute -%}
        {{ lock_claims(this.identifier) }}
        insert into quality.consumed_loads (model, resolution, load_id)
        select distinct
            '{{ this.identifier }}',
            '{{ base_resolution() }}',
            load_id
        from {{ source('deribit_raw', '_dlt_loads') }} as loads
        where status = 0
            and not exists (
                select from quality.consumed_loads as claims
                where claims.model = '{{ this.identifier }}'
                    and claims.load_id = loads.load_id
            )
            and load_id in ({{ counted_loads() }})
        on conflict do nothing;

        update quality.consumed_loads
        set
            claimed_by = pg_current_xact_id(),
            consumed_at = now()
        where model = '{{ this.identifier }}'
            and claimed_by is distinct from pg_current_xact_id()
            and load_id::numeric >= (
                select min(load_id::numeric)
                from quality.consumed_loads
                where model = '{{ this.identifier }}'
                    and (claimed_by is null or claimed_by = pg_current_xact_id())
            );
    {%- endif -%}
{%- endmacro %}


{% macro claim_loads_after(upstream, claimant=none) -%}
    {%- if execute -%}
        {%- set claimant = claimant or this.identifier -%}
        {{ lock_claims(claimant) }}
        {%- if not is_incremental() -%}
            {#- another build may have made the table meanwhile: a first build is one of all loads -#}
            {%- do run_query("delete from quality.consumed_loads where model = '" ~ claimant ~ "'") -%}
        {%- endif -%}
        insert into quality.consumed_loads as claims (model, resolution, load_id, follows)
        select
            '{{ claimant }}',
            '{{ base_resolution() }}',
            upstream.load_id,
            upstream.claimed_by
        from quality.consumed_loads as upstream
        left join quality.consumed_loads as own
            on own.model = '{{ claimant }}'
            and own.load_id = upstream.load_id
        where upstream.model = '{{ upstream }}'
            -- on conflict would lock every row that does not differ
            and (
                own.load_id is null
                or own.claimed_by is null
                or own.follows is distinct from upstream.claimed_by
            )
        on conflict (model, load_id) do update set
            claimed_by = pg_current_xact_id(),
            consumed_at = now(),
            follows = excluded.follows;
    {%- endif -%}
{%- endmacro %}


{% macro delete_claimed_rows(load_column) -%}
    {%- if execute and run_query("select to_regclass('" ~ this.include(database=false) ~ "') is not null").columns[0].values()[0] -%}
        delete from {{ this }}
        where {{ load_column }} in ({{ claimed_loads(this.identifier) }})
            and not {{ is_dropped(this.identifier ~ '.' ~ load_column, this.identifier ~ '.timestamp') }}
    {%- endif -%}
{%- endmacro %}


{% macro lock_claims(claimant) -%}
    {%- do run_query("select pg_advisory_xact_lock(hashtext('quality.consumed_loads'), hashtext('" ~ claimant ~ "'))") -%}
    {%- set others = "model = '" ~ claimant ~ "' and resolution <> '" ~ base_resolution() ~ "'" -%}
    {%- if run_query("select to_regclass('" ~ this.include(database=false) ~ "') is null").columns[0].values()[0] -%}
        {%- do run_query("delete from quality.consumed_loads where model = '" ~ claimant ~ "'") -%}
    {%- elif run_query("select exists (select from quality.consumed_loads where " ~ others ~ ")").columns[0].values()[0] -%}
        {%- do run_query("delete from " ~ this ~ "; delete from quality.consumed_loads where model = '" ~ claimant ~ "'") -%}
    {%- endif -%}
{%- endmacro %}


{% macro claimed_loads(model_name) -%}
    select load_id
    from {{ source('quality', 'consumed_loads') }}
    where model = '{{ model_name }}'
        and claimed_by = pg_current_xact_id()
{%- endmacro %}


{% macro reread_loads(model) -%}
    {%- set derived = ['ohlcv_days', 'ohlcv_revisions', 'exchange_bars', 'ohlcv_reconciliation'] -%}
    {%- do run_query("select pg_advisory_xact_lock(hashtext('quality.consumed_loads'), hashtext('" ~ model ~ "'))") -%}
    {%- if model in ['exchange_bars', 'loaded_days', 'ohlcv_revisions'] and has_dropped_raw() -%}
        {{ exceptions.raise_compiler_error(
            "expected the raw candles of every load for " ~ model ~ ", got times without them, see quality.dropped_raw; load these again "
            ~ "with perps backfill and delete the rows, or leave " ~ model ~ " as it is"
        ) }}
    {%- endif -%}
    {%- call statement('reread', fetch_result=True) -%}
        update quality.consumed_loads
        set claimed_by = null
        where model in ('{{ model }}', '{{ model }} bars')
        returning load_id
    {%- endcall -%}
    {%- set forgotten = load_result('reread').data | length -%}
    {%- if forgotten == 0 -%}
        {{ exceptions.raise_compiler_error(
            "expected a model that has consumed loads, got '" ~ model ~ "'; name perpetuals_ohlcv, rejected_candles, loaded_days, "
            ~ derived | join(", ") ~ ", perpetuals_ohlcv_5m or another rollup after a first dbt build"
        ) }}
    {%- endif -%}
    {%- if model in derived -%}
        {%- do run_query("delete from quality." ~ model) -%}
    {%- endif -%}
    {%- do adapter.commit() -%}
    {{ log(model ~ " will read " ~ forgotten ~ " loads again in the next dbt build", info=true) }}
{%- endmacro %}


{% macro in_loads(load_column, loads, few=false) -%}
    {{ hashed_in(load_column, loads, 'load_id') }}
        and exists (select from {{ loads }})
    {%- if few or is_incremental() %}
        and {{ load_column }} between (select min(load_id) from {{ loads }}) and (select max(load_id) from {{ loads }})
    {%- endif -%}
{%- endmacro %}


{% macro is_behind(follower, relation, upstream='perpetuals_ohlcv') -%}
    {{ ('perpetuals_ohlcv' in relation | string) | lower }}
    and exists (
        select from {{ source('quality', 'consumed_loads') }} as built
        left join {{ source('quality', 'consumed_loads') }} as counted
            on counted.model = '{{ follower }}'
            and counted.load_id = built.load_id
        where built.model = '{{ upstream }}'
            and (counted.follows is distinct from built.claimed_by or counted.claimed_by is null)
    )
{%- endmacro %}

-- Size of each table on disk, including indexes and compressed chunks, and its approximate number of rows.
with tables as (

    select
        relation.oid::regclass as oid,
        format('%s.%s', space.nspname, relation.relname) as name,
        hypertables.hypertable_name is not null as is_hypertable
    from pg_class as relation
    inner join pg_namespace as space on space.oid = relation.relnamespace
    left join timescaledb_information.hypertables as hypertables
        on hypertables.hypertable_schema = space.nspname
        and hypertables.hypertable_name = relation.relname
    where
        relation.relkind = 'r'
        and space.nspname in ('public', 'deribit_raw', 'quality')

),

chunks as (

    select
        format('%I.%I', hypertable_schema, hypertable_name)::regclass as oid,
        format('%I.%I', chunk_schema, chunk_name)::regclass as chunk
    from timescaledb_information.chunks

),

in_chunks as (

    -- for a compressed chunk, the number of rows before compression, which PostgreSQL's statistics do not have
    select
        oid,
        sum(coalesce(compressed.numrows_pre_compression, approximate_row_count(chunk)))::bigint as about_rows
    from chunks
    left join _timescaledb_catalog.compression_chunk_size as compressed
        on compressed.chunk_id = _timescaledb_functions.chunk_id_from_relid(chunk)
    group by oid

),

sized as (

    select
        tables.name,
        tables.is_hypertable,
        case when tables.is_hypertable then hypertable_size(tables.oid) else pg_total_relation_size(tables.oid) end as bytes,
        case when tables.is_hypertable then in_chunks.about_rows else approximate_row_count(tables.oid) end as about_rows
    from tables
    left join in_chunks on in_chunks.oid = tables.oid

),

final as (

    select
        name,
        is_hypertable,
        bytes,
        pg_size_pretty(bytes) as size,
        about_rows,
        round(bytes / nullif(about_rows, 0)::numeric, 1) as bytes_a_row
    from sized

)

select * from final
order by bytes desc;

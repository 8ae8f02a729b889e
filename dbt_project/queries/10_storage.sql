-- What each table takes on disk, indexes and compressed chunks included, and about how many rows it has.
with tables as (

    select
        relation.oid,
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

sized as (

    select
        name,
        is_hypertable,
        case when is_hypertable then hypertable_size(oid::regclass) else pg_total_relation_size(oid) end as bytes,
        approximate_row_count(oid::regclass) as about_rows
    from tables

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

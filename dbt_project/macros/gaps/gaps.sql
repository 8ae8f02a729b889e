{#- CTEs, up to `explained`: runs of missing buckets as gaps, with a reason. They read the CTEs runs (instrument, missing, is_known, note),
    fetches that lack a row (instrument, window_start, window_end, fetched_at) and rejected (instrument, opens_at). -#}
{% macro reasons_of_runs(bucket) -%}
fetches_of_runs as (

    select
        runs.instrument,
        runs.missing,
        fetches.window_start,
        fetches.window_end,
        fetches.fetched_at
    from runs
    inner join fetches
        on fetches.instrument = runs.instrument
        and fetches.window_start < upper(runs.missing)
        and fetches.window_end > lower(runs.missing)

),

edges as (

    select
        fetches_of_runs.instrument,
        fetches_of_runs.missing,
        edge.at,
        sum(edge.step) as step
    from fetches_of_runs
    cross join lateral (values (fetches_of_runs.window_start, 1), (fetches_of_runs.window_end, -1)) as edge (at, step)
    group by 1, 2, 3

),

pieces as (

    select
        instrument,
        missing,
        at as starts_at,
        lead(at) over by_time as ends_at,
        sum(step) over by_time as fetches
    from edges
    window by_time as (partition by instrument, missing order by at)

),

fetched_twice as (

    select
        instrument,
        missing,
        range_agg(tstzrange(starts_at, ends_at)) as fetched
    from pieces
    where fetches >= 2
    group by 1, 2

),

last_fetches as (

    select
        instrument,
        missing,
        max(fetched_at) as last_fetched_at
    from fetches_of_runs
    group by 1, 2

),

unusable as (

    select
        runs.instrument,
        runs.missing,
        range_agg(tstzrange(rejected.opens_at, rejected.opens_at + interval '{{ bucket }}')) as rejected
    from runs
    inner join rejected
        on rejected.instrument = runs.instrument
        and runs.missing @> rejected.opens_at
    group by 1, 2

),

explained as (

    select
        runs.instrument,
        lower(runs.missing) - interval '{{ bucket }}' as gap_start,
        upper(runs.missing) as gap_end,
        upper(runs.missing) - lower(runs.missing) as missing,
        case
            when runs.is_known then 'known'
            when not (
                coalesce(fetched_twice.fetched, '{}'::tstzmultirange) + coalesce(unusable.rejected, '{}'::tstzmultirange)
            ) @> runs.missing then 'unfetched'
            when unusable.instrument is not null then 'rejected'
            else 'source'
        end as reason,
        runs.note,
        last_fetches.last_fetched_at
    from runs
    left join fetched_twice
        on fetched_twice.instrument = runs.instrument
        and fetched_twice.missing = runs.missing
    left join unusable
        on unusable.instrument = runs.instrument
        and unusable.missing = runs.missing
    left join last_fetches
        on last_fetches.instrument = runs.instrument
        and last_fetches.missing = runs.missing

)
{%- endmacro %}


{#- CTEs, up to `explained`, of a table with one row a bucket: its gaps. They read the CTEs stored (instrument, opens_at) and known_gaps.
    Only instruments with fewer rows than buckets are looked through. -#}
{% macro gaps_of_rows(model, endpoint, bucket, rejected_opens_at) -%}
counted as (

    select
        instrument,
        count(*) as rows,
        min(opens_at) as first_row,
        max(opens_at) as last_row
    from stored
    group by instrument

),

neighbours as (

    select
        instrument,
        opens_at,
        lag(opens_at) over (partition by instrument order by opens_at) as previous
    from stored
    where instrument in (
        select instrument from counted
        where rows * interval '{{ bucket }}' < last_row - first_row + interval '{{ bucket }}'
    )

),

merged as (

    select
        instrument,
        tstzrange(previous + interval '{{ bucket }}', opens_at) as missing
    from neighbours
    where opens_at > previous + interval '{{ bucket }}'

),

runs as (

    select
        merged.instrument,
        merged.missing,
        count(known_gaps.instrument) > 0 as is_known,
        string_agg(known_gaps.reason, '; ' order by known_gaps.gap_start) as note
    from merged
    left join known_gaps
        on known_gaps.instrument = merged.instrument
        and {{ endpoint_of('known_gaps') }} = '{{ endpoint }}'
        and known_gaps.gap_start <= lower(merged.missing) - interval '{{ bucket }}'
        and known_gaps.gap_end >= upper(merged.missing)
    group by 1, 2

),

-- without fetches that have a row for each bucket, which are nearly all: they cannot explain a gap
fetches as (

    select
        instrument,
        window_start,
        window_end,
        max(fetched_at) as fetched_at
    from {{ ref('stg_fetches') }}
    where endpoint = '{{ endpoint }}'
        and rows * interval '{{ bucket }}' < window_end - window_start
        -- loads that the table has not read yet may have the missing rows
        and load_number <= {{ read_to(model) | indent(8) }}
    group by 1, 2, 3

),

rejected as (

    select
        instrument,
        {{ rejected_opens_at }} as opens_at
    from {{ ref('rejected_rows') }}
    where endpoint = '{{ endpoint }}'

),

{{ reasons_of_runs(bucket) }}
{%- endmacro %}


{#- What an entry of known_gaps is about; one without an endpoint is about candles. -#}
{% macro endpoint_of(relation) -%}
    coalesce(nullif(trim({{ relation }}.endpoint), ''), 'candles')
{%- endmacro %}


{#- CTEs, up to `covered`: an instrument's rows, and those missing by reason. They read the CTEs stored (instrument, opens_at) and gaps. -#}
{% macro coverage_of_rows(bucket) -%}
counted as (

    select
        instrument,
        count(*) as rows,
        min(opens_at) as first_row,
        max(opens_at) as last_row
    from stored
    group by instrument

),

missing as (

    select
        instrument,
        {% for reason in ['known', 'unfetched', 'rejected', 'source'] -%}
        coalesce(sum(missing) filter (where reason = '{{ reason }}'), 0)::bigint as {{ reason }}{{ ',' if not loop.last }}
        {% endfor -%}
    from gaps
    group by instrument

),

covered as (

    select
        counted.instrument,
        counted.rows,
        counted.first_row,
        counted.last_row,
        coalesce(missing.known, 0) as known,
        coalesce(missing.unfetched, 0) as unfetched,
        coalesce(missing.rejected, 0) as rejected,
        coalesce(missing.source, 0) as source,
        counted.rows + coalesce(missing.unfetched + missing.rejected + missing.source, 0) as expected
    from counted
    left join missing on missing.instrument = counted.instrument

)
{%- endmacro %}


{#- CTE `problems`: entries of known_gaps that are not filled in or explain nothing. It reads the CTEs known (with of_endpoint), gaps and
    rejected (both with endpoint). -#}
{% macro problems_of_entries() -%}
checked as (

    select
        *,
        case
            when num_nulls(nullif(trim(instrument), ''), gap_start, gap_end, nullif(trim(reason), ''), nullif(trim(evidence), '')) > 0
                then 'not filled in'
            when of_endpoint not in ('candles', 'funding', 'settlements') then 'no such endpoint'
            when gap_end <= gap_start then 'ends before it starts'
            when not exists (
                    select from gaps
                    where gaps.endpoint = known.of_endpoint
                        and gaps.instrument = known.instrument
                        and gaps.gap_start >= known.gap_start
                        and gaps.gap_end <= known.gap_end
                )
                -- a rejected row before the first or after the last row lies in no gap
                and not exists (
                    select from rejected
                    where rejected.endpoint = known.of_endpoint
                        and rejected.instrument = known.instrument
                        and rejected.timestamp > known.gap_start
                        and rejected.timestamp < known.gap_end
                )
                then 'no such gap'
        end as problem
    from known

),

problems as (

    select * from checked
    where problem is not null

)
{%- endmacro %}

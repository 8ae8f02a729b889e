"""Two dbt targets in one database: each has everything of its own, and both read the same raw tables."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.dbt_project import DAY, WITHOUT_ROLLUPS, Candle, DbtProject, candles, minute

BUILD = ("build", "--exclude-resource-type", "unit_test", *WITHOUT_ROLLUPS)
RUN = ("run", *WITHOUT_ROLLUPS)
SHAPE = """
select namespaces.nspname, relations.relname, relations.relkind::text
from pg_class as relations
inner join pg_namespace as namespaces on namespaces.oid = relations.relnamespace
where namespaces.nspname in ({schemas}) and relations.relkind in ('r', 'v', 'i')
    and not exists (select from pg_depend where objid = relations.oid and deptype = 'e')
order by 1, 2
"""
ROWS = """
select
    (select md5(string_agg(own::text, ',' order by timestamp, instrument)) from {0}.perpetuals_ohlcv as own),
    (select md5(string_agg(day::text, ',' order by day, instrument)) from {1}.ohlcv_days as day),
    (select md5(string_agg(revision::text, ',' order by timestamp)) from {1}.ohlcv_revisions as revision),
    (select md5(string_agg(gap::text, ',' order by gap_start)) from {1}.ohlcv_gaps as gap),
    (select md5(string_agg(rejected::text, ',' order by timestamp)) from {1}.rejected_candles as rejected),
    (select count(*) from {0}.perpetuals_ohlcv),
    (select array_agg(read_to::text) from {1}.watermarks)
"""
PUBLIC, DEV = ("public", "quality"), ("dbt_dev", "dbt_dev_quality")
RAW = """
select relid::regclass::text, n_tup_ins, n_tup_upd, n_tup_del from pg_stat_user_tables
where schemaname in ('deribit_raw', '_timescaledb_internal') and relid in (
    select 'deribit_raw.candles'::regclass::oid union all
    select inhrelid from pg_inherits where inhparent = 'deribit_raw.candles'::regclass union all
    select 'deribit_raw.fetches'::regclass::oid union all select 'deribit_raw._dlt_loads'::regclass::oid
)
order by 1
"""


@pytest.fixture
def dev(project: DbtProject) -> DbtProject:
    """The target `dev` of profiles.yml.example, on the same database."""
    return DbtProject(project.database, project.work / "dev", target="dev")


def rows(project: DbtProject, schemas: tuple[str, str]) -> tuple[Any, ...]:
    return project.query(ROWS.format(*schemas))[0]


def shape(project: DbtProject, *schemas: str) -> list[tuple[str, ...]]:
    return project.query(SHAPE.format(schemas=", ".join(f"'{schema}'" for schema in schemas)))


def test_each_target_reads_every_load_whichever_read_it_first(project: DbtProject, dev: DbtProject) -> None:
    project.land("10.5", [*candles(0, 2 * DAY), Candle(minute(3 * DAY), open=None)])
    project.run(*RUN)
    project.land("11.5", [*candles(2 * DAY + 5, 3 * DAY), Candle(minute(7), close=99.0)])
    landed = project.query(RAW)
    dev.run(*RUN)
    project.run(*RUN)
    project.land("12.5", [*candles(3 * DAY, 3 * DAY + 5), Candle(minute(8), close=98.0)])
    project.run(*RUN)
    dev.run(*RUN)
    assert rows(project, PUBLIC) == rows(dev, DEV)
    assert rows(project, PUBLIC)[-2] == 3 * DAY
    assert project.query(RAW)[: len(landed)] != landed  # the third load
    landed = project.query(RAW)
    dev.run(*RUN)
    assert project.query(RAW) == landed, "a target wrote into raw"


def test_a_target_has_everything_under_its_own_name_and_leaves_what_is_there_as_it_is(
    project: DbtProject, dev: DbtProject
) -> None:
    project.land("10.5", candles(0, 10))
    project.run(*BUILD)
    everywhere = "select nspname from pg_namespace where nspname !~ '^(pg_|_timescale|dbt_)' order by 1"
    schemas = [name for (name,) in project.query(everywhere)]
    before = shape(project, *schemas)
    dev.run(*BUILD)
    assert [name for (name,) in project.query(everywhere)] == schemas
    assert shape(project, *schemas) == before
    made = shape(dev, "dbt_dev", "dbt_dev_quality", "dbt_dev_staging")
    renamed = [(schema.replace("dbt_dev_", "").replace("dbt_dev", "public"), *of) for schema, *of in made]
    wanted = [each for each in before if each[0] in ("public", "quality", "staging")]
    assert sorted(renamed) == sorted(wanted)
    assert len([each for each in wanted if each[1] == "perpetuals_ohlcv"]) == 1


def test_a_target_that_is_dropped_or_read_again_takes_nothing_from_the_other(
    project: DbtProject, dev: DbtProject
) -> None:
    project.land("10.5", candles(0, 10))
    project.run(*RUN)
    dev.run(*RUN)
    before = rows(project, PUBLIC)
    assert dev.reread("perpetuals_ohlcv").success
    assert rows(project, PUBLIC) == before
    assert set(rows(dev, DEV)[-1]) == {"0", "10.5"}
    project.query("truncate dbt_dev.perpetuals_ohlcv")
    project.run(*RUN)
    assert rows(project, PUBLIC) == before
    dev.run(*RUN)
    assert rows(dev, DEV) == before

"""What an audit reads of the raw candles grows with their number, not with its square."""

from __future__ import annotations

from pathlib import Path

import pytest

from extract.database.database import Database
from tests.support.dbt_project import DbtProject, candles

CANDLES = 400
SCANS = """
select coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0)::bigint from pg_stat_all_tables
where relid in (select inhrelid from pg_inherits where inhparent = 'deribit_raw.candles'::regclass)
"""


@pytest.mark.long
def test_the_audit_of_revisions_scans_raw_candles_a_few_times_however_many_came_twice(
    database: Database, tmp_path: Path
) -> None:
    project = DbtProject(database, tmp_path)
    project.create_raw_tables()
    project.land("10.5", candles(0, CANDLES))
    project.land("11.5", candles(0, CANDLES, close=99.0))
    project.build()

    def scans() -> int:
        project.settle()
        return project.query(SCANS)[0][0]

    before = scans()
    audited = project.run("test", "--select", "audit_revisions", "--vars", "{audit: true}")
    assert audited.statuses["audit_revisions"] == "pass", audited.output
    assert 0 < scans() - before < CANDLES / 10

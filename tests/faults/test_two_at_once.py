"""Two commands on one database at the same moment, and an instrument that goes while it is loaded."""

from __future__ import annotations

from pathlib import Path

from extract.deribit.client import DeribitClient
from extract.deribit.instruments import Listed
from tests.support.exchange import ETH
from tests.support.flow import BACKFILL, BUILD, START, Flow
from tests.support.perps import Result, error_line

NOON = "2024-01-02T00:00:00Z"
FIRST_DAY = (*BACKFILL[:-3], NOON, *BACKFILL[-2:])


def test_beside_a_load_another_is_refused_and_a_build_sees_complete_loads_alone(flow: Flow, tmp_path: Path):
    assert FIRST_DAY[-3] == NOON
    flow.expect(*FIRST_DAY)
    said: list[Result] = []

    def meanwhile(_) -> None:
        elsewhere = str(tmp_path / "another-host")
        said.append(flow.spawn("run", "--no-report", PERPS_HOME=elsewhere))
        flow.recovery_s = 0.0
        flow.judge("people", "build inside another's copy", (START, NOON))

    with flow.inside_a_copy(meanwhile) as through:
        first = flow.command(*BACKFILL, through=through)
    assert first.returncode == 0, first.stderr
    (refused,) = said
    assert "another load is using database" in error_line(refused)
    flow.recover("people", "run beside a backfill", BUILD)


def test_an_instrument_that_goes_while_it_is_loaded_is_named_and_the_others_are_saved(flow, monkeypatch):
    gone = {"kind": "error", "code": 13020, "instrument": ETH, "status": 400}
    flow.set_faults(gone)
    failed = error_line(flow.command(*BACKFILL))
    assert "ETH-PERPETUAL 2024-01-01T00:00Z..2024-01-03T00:00Z" in failed

    listed = DeribitClient.instruments
    with monkeypatch.context() as delisted:
        delisted.setattr(
            DeribitClient,
            "instruments",
            lambda client: Listed([found for found in listed(client).perpetuals if found.name != ETH], []),
        )
        updated = flow.expect("update", "--requests-per-second", "1000")
    assert "ETH-PERPETUAL: no longer listed by deribit" in updated.stderr

    flow.set_faults()
    flow.recover("api", "instrument gone between listing and chart", ("update",), BUILD)

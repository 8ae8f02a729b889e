"""Two commands on one database at the same moment, and an instrument that goes while it is loaded."""

from __future__ import annotations

import subprocess
from pathlib import Path

from extract.deribit.client import DeribitClient
from extract.deribit.instruments import Listed
from tests.support.flow import BACKFILL, BUILD, START, Flow, one_error
from tests.support.proxy import proxied
from tests.support.truth import control

NOON = "2024-01-02T00:00:00Z"
FIRST_DAY = (*BACKFILL[:-3], NOON, *BACKFILL[-2:])

Result = subprocess.CompletedProcess[str]


def test_beside_a_load_another_is_refused_and_a_build_sees_complete_loads_alone(flow: Flow, tmp_path: Path):
    assert FIRST_DAY[-3] == NOON
    flow.expect(*FIRST_DAY)
    said: list[Result] = []

    def meanwhile(_) -> None:
        elsewhere = str(tmp_path / "another-host")
        said.append(flow.spawn("run", "--no-report", PERPS_HOME=elsewhere))
        flow.recovery_s = 0.0
        flow.judge("people", "build inside another's copy", (START, NOON))

    with proxied(flow.database) as (proxy, through):
        proxy.once(150_000, meanwhile)
        first = flow.command(*BACKFILL, through=through)
        assert proxy.triggered
    assert first.returncode == 0, first.stderr
    (refused,) = said
    assert "to be the only load" in one_error(refused)
    flow.recover("people", "run beside a backfill", BUILD)


def test_an_instrument_that_goes_while_it_is_loaded_is_named_and_the_others_are_saved(flow, monkeypatch):
    gone = {"kind": "error", "code": 13020, "instrument": "ETH-PERPETUAL", "status": 400}
    control(flow.exchange.base_url, "faults", [gone])
    failed = one_error(flow.command(*BACKFILL))
    assert "ETH-PERPETUAL 2024-01-01T00:00Z..2024-01-03T00:00Z" in failed

    listed = DeribitClient.instruments
    with monkeypatch.context() as delisted:
        delisted.setattr(
            DeribitClient,
            "instruments",
            lambda client: Listed(
                [found for found in listed(client).perpetuals if found.name != "ETH-PERPETUAL"], []
            ),
        )
        updated = flow.expect("update", "--requests-per-second", "1000")
    assert "ETH-PERPETUAL: no longer listed by deribit" in updated.stderr

    control(flow.exchange.base_url, "faults", [])
    flow.recover("api", "instrument gone between listing and chart", ("update",), BUILD)

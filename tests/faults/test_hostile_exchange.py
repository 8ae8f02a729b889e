"""An exchange that lists names made to be obeyed: by SQL, a path, a template, a terminal, a spreadsheet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from extract.database.database import Database
from extract.deribit.budget import TokenBucket
from extract.deribit.client import DeribitClient
from extract.deribit.instruments import NAME
from extract.errors import PerpsError
from extract.simulator import RunningSimulator
from extract.simulator.listings import BTC
from tests.support.exchange import ETH, simulated
from tests.support.ledger import Injected, judge, record
from tests.support.people import harmless_error
from tests.support.perps import Perps, expect
from tests.support.truth import rows, table, truth

START, END = "2024-01-01T00:00:00Z", "2024-01-01T06:00:00Z"
RANGE = ("--start", START, "--end", END)
HOSTILE = (
    "'; drop table deribit_raw.candles; --",
    '"; drop schema deribit_raw cascade; --',
    "$$; drop table deribit_raw.candles; $$",
    "../../../../../../../../tmp/perps-escaped",
    "/tmp/perps-escaped",
    "a/b-PERPETUAL",
    "..",
    "back\\slash-PERPETUAL",
    "nul\x00-PERPETUAL",
    "BTC-PERPETUAL\n",
    "line\nbreak-PERPETUAL",
    "%s%(name)s%d-PERPETUAL",
    "{{ 1/0 }}-PERPETUAL",
    "{% raw %}-PERPETUAL",
    "</script><script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "-rf-PERPETUAL",
    "\x1b[2J\x1b]0;owned\x07-PERPETUAL",
    "\u202eLAUTEPREP-CTB",
    "BTC\u200b-PERPETUAL",
    "ＢТС-PERPETUAL",
    "X" * 300,
    "candles BTC-PERPETUAL 1",
    "",
    " ",
)


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningSimulator]:
    with simulated(clock=END) as running:
        listings = running.simulator.market.listings
        good = listings[ETH]
        listings.clear()
        listings |= {name: replace(BTC, name=name) for name in HOSTILE}
        listings |= {BTC.name: BTC, good.name: good}
        yield running


def test_the_good_instruments_are_loaded_and_the_others_named(
    module_database: Database, exchange: RunningSimulator, typed, perps: Perps, tmp_path: Path
) -> None:
    there = module_database.env() | {"DERIBIT_API_URL": exchange.base_url}
    loaded = typed("backfill", "--instruments", "all", *RANGE, **there)
    said = harmless_error(loaded)
    warned = [line for line in loaded.stderr.splitlines() if line.endswith("that perpetual is left out")]
    assert len(warned) == len(HOSTILE)
    assert "expected an instrument name of up to 64 letters, digits, . _ and -, got " in said
    assert f"{len(HOSTILE)} of deribit's perpetuals cannot be loaded, the rest is saved" in said

    began = time.monotonic()
    expect(typed("update", **there))
    expect(perps("dbt", "--", "run", "--select", "+perpetuals_ohlcv", database=module_database))
    recovery = time.monotonic() - began

    true = [row for name in (BTC.name, ETH) for row in truth(exchange.base_url, name, START, END)]
    assert len(true) == 2 * 360
    fault = f"{len(HOSTILE)} hostile instrument names in the listing"
    record(Injected("people", fault, *judge(table(module_database), true), recovery))
    listed = rows(module_database, "select distinct instrument from deribit_raw.instruments order by 1")
    assert listed == [(BTC.name,), (ETH,)]
    assert not Path("/tmp/perps-escaped").exists()
    made = {path.name for path in (tmp_path / "home").rglob("*")}
    assert made >= {"pipelines", "perps.log"}
    assert all(NAME.fullmatch(name) for name in made)

    names = [name.replace("\x00", "") for name in HOSTILE]  # no argument of a program can hold one
    wrong = typed("backfill", *RANGE, f"--instruments={','.join(names)}", **there)
    assert "expected instruments that deribit lists, got " in harmless_error(wrong, 2)
    assert rows(module_database, "select count(distinct instrument) from deribit_raw.candles") == [(2,)]


def test_a_listing_of_nothing_but_hostile_names_is_no_answer(exchange: RunningSimulator) -> None:
    listings = exchange.simulator.market.listings
    good = {name: listings.pop(name) for name in (BTC.name, ETH)}
    client = DeribitClient(exchange.base_url, TokenBucket(1000, 100), attempts=2, sleep=lambda _: None)
    try:
        with pytest.raises(PerpsError, match="expected a usable perpetual among the instruments"):
            client.instruments()
    finally:
        listings |= good

"""This machine's clock is ten minutes wrong, to either side: Deribit's says which candles are closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.support.flow import BUILD, INSTRUMENTS, Flow
from tests.support.perps import error_line
from tests.support.truth import rows

LAST = 'select instrument, max("timestamp") from deribit_raw.candles group by 1 order by 1'


def skewed(seconds: int) -> str:
    """Return code that sets a process's clock ahead, or back."""
    return f"import time; true = time.time; time.time = lambda: true() + {seconds}"


def test_a_wrong_clock_neither_admits_a_forming_candle_nor_hides_a_closed_one(flow: Flow):
    now = datetime.now(UTC).replace(second=30, microsecond=0)
    start = (now - timedelta(days=1)).replace(second=0)
    load = ("--instruments", *INSTRUMENTS, "--requests-per-second", "1000")

    def load_at(minutes: int, *command: str, clock: int) -> None:
        """Load in a process whose clock is wrong by seconds: it has what Deribit's clock says is closed."""
        flow.set_clock((now + timedelta(minutes=minutes)).isoformat())
        done = flow.spawn(*command, *load, code=skewed(clock))
        assert done.returncode == 0, done.stderr
        newest = now.replace(second=0) + timedelta(minutes=minutes - 1)
        assert rows(flow.database, LAST) == [(name, newest) for name in INSTRUMENTS]

    load_at(0, "backfill", "--start", start.isoformat(), clock=-600)
    load_at(2, "update", clock=600)
    # right again, ten minutes behind the last load: refused, because the order of loads decides who wins
    refused = error_line(flow.command("update", *load))
    assert "set the clock, or if it was wrong at that load, wait for that time" in refused

    load_at(20, "update", clock=1200)
    flow.expect(*BUILD)
    end = now.replace(second=0) + timedelta(minutes=20)
    when = tuple(f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in (start, end))
    flow.judge("clock", "10 minutes back, then ahead, then right", when)

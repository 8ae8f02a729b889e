"""This machine's clock is ten minutes wrong, to either side: Deribit's says which candles are closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.support.flow import BUILD, INSTRUMENTS, Flow, one_error
from tests.support.truth import rows

LAST = 'select instrument, max("timestamp") from deribit_raw.candles group by 1 order by 1'


def skewed(seconds: int) -> str:
    """Return code that sets a process's clock ahead, or back."""
    return f"import time; true = time.time; time.time = lambda: true() + {seconds}"


def test_a_wrong_clock_neither_admits_a_forming_candle_nor_hides_a_closed_one(flow: Flow):
    now = datetime.now(UTC).replace(second=30, microsecond=0)
    start = (now - timedelta(days=1)).replace(second=0)
    load = ("--instruments", *INSTRUMENTS, "--requests-per-second", "1000")

    def closed_at(minutes: int) -> list[tuple]:
        """Set Deribit's clock; return what a load must have then."""
        flow.set_clock((now + timedelta(minutes=minutes)).isoformat())
        return [(name, now.replace(second=0) + timedelta(minutes=minutes - 1)) for name in INSTRUMENTS]

    expected = closed_at(0)
    slow = flow.spawn("backfill", *load, "--start", start.isoformat(), code=skewed(-600))
    assert slow.returncode == 0, slow.stderr
    assert rows(flow.database, LAST) == expected

    expected = closed_at(2)
    fast = flow.spawn("update", *load, code=skewed(600))
    assert fast.returncode == 0, fast.stderr
    assert rows(flow.database, LAST) == expected

    # right again, ten minutes behind the last load: refused, because the order of loads decides who wins
    refused = one_error(flow.command("update", *load))
    assert "set this machine's clock, or wait for that time" in refused

    expected = closed_at(20)
    caught_up = flow.spawn("update", *load, code=skewed(1200))
    assert caught_up.returncode == 0, caught_up.stderr
    assert rows(flow.database, LAST) == expected
    flow.expect(*BUILD)
    end = now.replace(second=0) + timedelta(minutes=20)
    flow.judge(
        "clock",
        "10 minutes back, then ahead, then right",
        (start.isoformat()[:19] + "Z", end.isoformat()[:19] + "Z"),
    )

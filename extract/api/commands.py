"""`backfill`, `update` and `build` for a Python program: each runs in a new process.

A command changes its process: memory, signals, environment, dlt and dbt. So it does not run in the caller's
process, which may be a notebook with pipelines of its own.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import connection
from pathlib import Path
from typing import Any

from extract.core.names import split_names
from extract.core.times import Time, as_typed
from extract.errors import PerpsError
from extract.load.plan import DEFAULT_LOAD_CANDLES, DEFAULT_LOOKBACK
from extract.load.result import LoadResult
from extract.settings import environment_for
from extract.transform.failures import BuildResult

STOP_TIMEOUT_S = 10.0
"""Seconds before an interrupted command is killed: a little more than `ending.GRACE_S`, after which it ends
by itself."""


def backfill(
    instruments: str | Sequence[str],
    start: Time | None = None,
    end: Time | None = None,
    resolution: str = "1",
    *,
    only: str | Sequence[str] = (),
    lookback: int = DEFAULT_LOOKBACK,
    load_candles: int = DEFAULT_LOAD_CANDLES,
    wait_s: int = 0,
    database: str | None = None,
    api_url: str | None = None,
    requests_per_second: float | None = None,
    home: str | Path | None = None,
) -> LoadResult:
    """Load a time range, even if it was loaded before; the same as `perps backfill`.

    It runs in a process of its own and changes nothing in this one. Its log is the log file under `home`.

    Args:
        instruments: names, such as ["BTC-PERPETUAL"], or "all" for every listed perpetual.
        start: inclusive, of bucket opens; a date, an ISO time, a datetime or UTC ms. Without a time zone it
            is UTC. Default: the listing.
        end: exclusive, in the same forms. Default: the end of the last closed bucket.
        resolution: of candles, in minutes, or `1D`: 1, 3, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1D.
        only: what to load: `candles`, `funding`, `settlements`, or several of them. Default: all three.
        lookback: number of rows before each cursor to fetch again, to catch late revisions.
        load_candles: most rows in one load; limits memory, and what must be fetched again after a kill.
        wait_s: how long to wait for another load to end, in seconds.
        database: `postgresql://user:password@host:port/name`. Default: the database of the libpq variables;
            without PGHOST, the embedded server, which is started if it is not running.
        api_url: base URL of the API. Default: DERIBIT_API_URL, else the live service.
        requests_per_second: rate limit of all requests together. Default: DERIBIT_REQUESTS_PER_SECOND, else
            20.
        home: folder for logs, working files and the embedded server. Default: PERPS_HOME.

    Returns:
        The number of raw rows landed, new or changed, by endpoint and instrument, and what was skipped.

    Raises:
        IncompleteError: some windows had no usable reply; the others are saved. Its `result` names the failed
            ones.
        UsageError: an argument cannot be used.
        PerpsError: the load failed otherwise; complete loads are saved.
    """
    found: LoadResult = _carry_out(
        "backfill:load",
        database,
        home,
        instruments=split_names(instruments),
        start=as_typed(start),
        end=as_typed(end),
        resolution=resolution,
        only=split_names(only),
        lookback=lookback,
        load_candles=load_candles,
        wait=wait_s,
        api_url=api_url,
        requests_per_second=requests_per_second,
    )
    return found


def update(
    instruments: str | Sequence[str] = (),
    resolution: str = "1",
    *,
    only: str | Sequence[str] = (),
    lookback: int = DEFAULT_LOOKBACK,
    load_candles: int = DEFAULT_LOAD_CANDLES,
    wait_s: int = 0,
    database: str | None = None,
    api_url: str | None = None,
    requests_per_second: float | None = None,
    home: str | Path | None = None,
) -> LoadResult:
    """Load what is new, up to the last closed bucket; the same as `perps update`.

    Args:
        instruments: names, or "all". Default: every instrument that is already loaded.
        resolution: see `backfill`, as for all other arguments.

    Returns:
        As `backfill`.

    Raises:
        IncompleteError: some windows had no usable reply; the others are saved. Its `result` names the failed
            ones.
        UsageError: an argument cannot be used.
        PerpsError: the load failed otherwise; complete loads are saved.
    """
    found: LoadResult = _carry_out(
        "update:load",
        database,
        home,
        instruments=split_names(instruments),
        resolution=resolution,
        only=split_names(only),
        lookback=lookback,
        load_candles=load_candles,
        wait=wait_s,
        api_url=api_url,
        requests_per_second=requests_per_second,
    )
    return found


def build(
    select: Sequence[str] = (),
    resolution: str = "1",
    *,
    wait_s: int = 0,
    database: str | None = None,
    home: str | Path | None = None,
) -> BuildResult:
    """Build and test the models from the loaded data: `perps dbt -- build`, without dbt's unit tests.

    Args:
        select: selectors as for dbt's `--select`, such as ["perpetuals_ohlcv+"]. Default: everything.
        resolution: of the candles to build from, as in `backfill`.
        wait_s: how long to wait for another build to end, in seconds.
        database: see `backfill`.
        home: see `backfill`.

    Returns:
        Whether all models and tests passed, and which failed. A failed test is a result, not an exception.

    Raises:
        UsageError: an argument cannot be used.
        PerpsError: another build is running, or dbt could not start.
    """
    found: BuildResult = _carry_out(
        "dbt:build", database, home, select=list(select), resolution=resolution, wait=wait_s
    )
    return found


def _carry_out(run: str, database: str | None, home: str | Path | None, **arguments: Any) -> Any:
    """Run a function of the command line in a process of its own, and return its result.

    Raises:
        PerpsError: that function raised it, or its process ended without a result.
    """
    ours, theirs = connection.Pipe()
    # multiprocessing would import the caller's main module, which may lack `if __name__ == "__main__"`
    code = f"import sys; sys.path = {sys.path!r}; from extract.cli.child import main; main({theirs.fileno()})"
    with ours, tempfile.TemporaryFile() as stderr:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", code],
                env=environment_for(database, home),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a terminal's interrupt is for this process, which passes it on
            )
        try:
            ours.send(argparse.Namespace(run=run, verbose=False, **arguments))
            result = ours.recv()
            process.wait()
        except (EOFError, ConnectionError):
            stderr.seek(0)
            last = stderr.read().decode(errors="replace").strip().rpartition("\n")[2][:300]
            raise PerpsError(
                f"the command's process ended with exit code {process.wait()}: {last}; "
                "what was loaded is safe, run it again"
            ) from None
        except BaseException:
            _end(process)
            raise
    if isinstance(result, PerpsError):
        raise result
    return result


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt a process that has sent no result, and kill it if it does not end soon."""
    process.send_signal(signal.SIGINT)
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
    finally:
        process.kill()
        process.wait()

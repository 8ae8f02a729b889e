"""Configure and run a simulator: blocking for the command line, in a thread for tests and the demo."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from extract.errors import PerpsError, UsageError
from extract.simulator.clock import Clock, parse_ms
from extract.simulator.credits import (
    BURST,
    INSTRUMENTS_BURST,
    INSTRUMENTS_PER_SECOND,
    REQUESTS_PER_SECOND,
    Credits,
)
from extract.simulator.faultbook import FaultBook
from extract.simulator.faultparsing import parse_faults
from extract.simulator.http import SimulatorServer
from extract.simulator.listings import BTC
from extract.simulator.market import Market, Source
from extract.simulator.marketfaults import Fault
from extract.simulator.prepared import PreparedMinutes, prepare
from extract.simulator.replay import Replay
from extract.simulator.simulator import Simulator


@dataclass(frozen=True)
class SimulatorConfig:
    """The configuration of a simulator.

    `candles` replays a CSV for `instrument` (default BTC-PERPETUAL) instead of the market of `seed`; `port` 0
    means any free port; `clock` (ISO) freezes the time; `requests_per_second` None switches all rate limits
    off; `faults` is a JSON file or parsed faults; `extra_instruments` adds small perpetuals; `prepare` names
    the instruments whose minutes are rendered in advance, an empty tuple means all. Raises UsageError for
    values that cannot work.
    """

    candles: Path | None = None
    instrument: str | None = None
    seed: int = 7
    port: int = 0
    clock: str | None = None
    latency_ms: float = 0
    requests_per_second: float | None = REQUESTS_PER_SECOND
    burst: int = BURST
    faults: Path | tuple[Fault, ...] = ()
    extra_instruments: int = 0
    limit_status: int = 429
    limit_retry_after: bool = False
    prepare: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        rate, refusal = self.requests_per_second, self.limit_status
        checks = (
            (0 <= self.port <= 65535, "port from 0 to 65535", self.port),
            (0 <= self.latency_ms < 3_600_000, "latency-ms from 0 to an hour", self.latency_ms),
            (rate is None or rate > 0, "requests-per-second above 0", rate),
            (self.burst >= 1, "burst of at least 1", self.burst),
            (0 <= self.extra_instruments <= 999, "instruments from 0 to 999", self.extra_instruments),
            (refusal == 200 or 400 <= refusal <= 599, "limit status 200 or 400 to 599", refusal),
        )
        for holds, expected, got in checks:
            if not holds:
                raise UsageError(f"expected {expected}, got {got}; correct the option")
        if self.instrument and not self.candles:
            raise UsageError(
                f"expected --candles with --instrument, got only {self.instrument}; name the file to replay"
            )
        if self.candles and self.prepare is not None:
            raise UsageError("expected --prepare without --candles, got both; a file needs no preparing")
        if self.clock is not None:
            parse_ms(self.clock, "clock")


@dataclass(frozen=True)
class RunningSimulator:
    """A running simulator: `base_url` ends in /api/v2, `simulator` is the object behind it."""

    base_url: str
    simulator: Simulator


def build(config: SimulatorConfig) -> Simulator:
    """Return the simulator for a configuration; raises UsageError if a file cannot be read."""
    market: Source = (
        Replay(config.candles, config.instrument or BTC.name)
        if config.candles
        else Market(config.seed, extra_instruments=config.extra_instruments)
    )
    limited = config.requests_per_second is not None
    clock = Clock(None if config.clock is None else parse_ms(config.clock, "clock"))
    return Simulator(
        market,
        clock,
        Credits(config.requests_per_second, config.burst),
        FaultBook(_faults(config.faults), config.seed),
        config.latency_ms,
        instrument_credits=Credits(INSTRUMENTS_PER_SECOND if limited else None, INSTRUMENTS_BURST),
        limit_status=config.limit_status,
        limit_retry_after=config.limit_retry_after,
        prepared=_prepared(config, market, clock.now_ms()),
    )


def _prepared(config: SimulatorConfig, market: Source, now_ms: int) -> dict[str, PreparedMinutes]:
    if config.prepare is None or not isinstance(market, Market):
        return {}
    unknown = [name for name in config.prepare if name not in market.listings]
    if unknown:
        raise UsageError(f"expected --prepare with listed instruments, got {unknown[0]}; correct the name")
    return prepare(market, config.prepare or market.listings, now_ms)


@contextmanager
def running(config: SimulatorConfig | None = None) -> Iterator[RunningSimulator]:
    """Run a simulator in a thread for the length of a with block.

    Raises UsageError for an invalid configuration, and PerpsError if the port is in use.
    """
    simulator = build(config or SimulatorConfig())
    server = _listen(simulator, config.port if config else 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="simulator", daemon=True)
    thread.start()
    try:
        yield RunningSimulator(server.base_url, simulator)
    finally:
        server.stop()
        thread.join()


def serve(config: SimulatorConfig, announce: Callable[[str], None]) -> None:
    """Run a simulator until SIGINT or SIGTERM; `announce` gets the base address once it listens.

    Call it from the main thread. Raises as `running` does.
    """
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        with running(config) as simulated:
            announce(simulated.base_url)
            stop.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(simulator: Simulator, port: int) -> SimulatorServer:
    try:
        return SimulatorServer(simulator, port)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PerpsError(f"port {port} is not free: {reason}; choose another with --port") from error


def _faults(given: Path | tuple[Fault, ...]) -> tuple[Fault, ...]:
    if isinstance(given, tuple):
        return given
    try:
        return parse_faults(json.loads(given.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"expected a JSON file of faults at {given}, got: {error}; correct the file"
        ) from error

"""`perps simulate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from extract import simulator
from extract.core.names import split_names
from extract.settings import Settings


def simulate(args: argparse.Namespace, _settings: Settings) -> int:
    """Serve a local Deribit until stopped."""
    config = simulator.SimulatorConfig(
        candles=Path(args.candles) if args.candles else None,
        instrument=args.instrument,
        seed=args.seed,
        port=args.port,
        clock=args.clock,
        latency_ms=args.latency_ms,
        requests_per_second=args.limit or None,
        burst=args.burst,
        faults=Path(args.faults) if args.faults else (),
        extra_instruments=args.extra_instruments,
        prepare=None if args.prepare is None else tuple(split_names(args.prepare)),
    )
    simulator.serve(config, lambda address: print(address, flush=True))
    return 0

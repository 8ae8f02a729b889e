"""`perps simulate`: a local Deribit."""

from __future__ import annotations

import argparse
from pathlib import Path

from extract import simulator
from extract.core.names import split_names
from extract.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be typed after `perps simulate`."""
    parser.add_argument(
        "--candles", metavar="FILE.csv", help="replay recorded candles instead of generating a market"
    )
    parser.add_argument(
        "--instrument", metavar="NAME", help="instrument of the recorded candles (default: BTC-PERPETUAL)"
    )
    parser.add_argument(
        "--seed", type=int, default=7, metavar="N", help="random seed of the generated market (default: 7)"
    )
    parser.add_argument("--port", type=int, default=0, metavar="N", help="TCP port (default: any free port)")
    parser.add_argument("--clock", metavar="TIME", help="freeze the clock at this UTC time")
    parser.add_argument("--latency-ms", type=float, default=0, metavar="N", help="delay before each response")
    parser.add_argument(
        "--limit",
        type=float,
        default=20,
        metavar="N",
        help="rate limit in requests per second; 0 for none (default: 20)",
    )
    parser.add_argument(
        "--burst", type=int, default=100, metavar="N", help="burst size of the rate limit (default: 100)"
    )
    parser.add_argument("--faults", metavar="FILE.json", help="faults to inject, as JSON")
    parser.add_argument(
        "--extra-instruments", type=int, default=0, metavar="N", help="number of additional small perpetuals"
    )
    parser.add_argument(
        "--prepare",
        nargs="*",
        metavar="NAME",
        help="precompute all minutes of these instruments (default: all), for faster responses",
    )


def run(args: argparse.Namespace, _settings: Settings) -> int:
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

"""The argument parser. Each command is a module here, with `add_arguments(parser)` and `run(args, settings)`.

Only the module of the command that was typed is imported: dlt, dbt and Arrow take seconds.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

from extract import __version__

COMMANDS = {
    "demo": "load, build and report 30 days of synthetic candles, with an embedded server and a simulator",
    "backfill": "load candles, funding and settlements of a time range, even if they were loaded before",
    "update": "load new candles, funding and settlements, up to the last closed candle",
    "run": "update, build and report, once or every minute",
    "repair": "fetch the gaps that the last dbt build found",
    "verify": "compare the tables with what Deribit returns now; loads nothing",
    "reconcile": "compare aggregated candles with Deribit's own longer candles",
    "audit": "recompute all checked models from all candles and compare; slow",
    "doctor": "check this installation, or the Deribit API, for problems; changes nothing",
    "health": "check that the table is fresh, for probes; reads only the database",
    "report": "write the report: an HTML page, and its data as CSV and text files",
    "export": "write candles, funding or settlements to Parquet or CSV",
    "instruments": "list Deribit's perpetuals",
    "dbt": "run dbt with the connection set up, for example: perps dbt -- build",
    "db": "manage the embedded TimescaleDB server, or open a database",
    "simulate": "run a local Deribit simulator; prints its base URL first",
}
"""Help texts by command, in the order shown."""


def build_parser(typed: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """Return the parser with the arguments of the typed command, or of every command if `typed` is None."""
    first = next((word for word in typed or () if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(
        prog="perps",
        description="Every one-minute candle of every Deribit perpetual, complete, checked and queryable "
        "in TimescaleDB. All times are UTC.",
        epilog="Exit codes: 0 done, 1 failed (one line on stderr says why and what to do), 2 wrong usage, "
        "130 interrupted (Ctrl-C), 143 terminated. Settings: PGHOST PGPORT PGDATABASE PGUSER PGPASSWORD "
        "(without PGHOST: the embedded server), DERIBIT_API_URL, DERIBIT_ALLOW_HTTP, "
        "DERIBIT_REQUESTS_PER_SECOND, PERPS_HOME, PERPS_CACHE. Flags override environment variables.",
    )
    parser.add_argument("--version", action="version", version=f"perps {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="also print log messages to stderr")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        added = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if typed is None or name == first:
            module = importlib.import_module(f"extract.cli.{name}")
            added.set_defaults(run=getattr(module, "run", None))
            module.add_arguments(added)
    return parser

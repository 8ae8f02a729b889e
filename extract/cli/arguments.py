"""What a person can type: commands, flags and their help, one function a group of commands."""

from __future__ import annotations

import argparse
from typing import TypeAlias

from extract import __version__
from extract.cli import export
from extract.core.resolution import RESOLUTIONS
from extract.load.plan import DEFAULT_LOOKBACK, DEFAULT_PACKAGE

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # it has no public name


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser = argparse.ArgumentParser(
        prog="perps",
        description="Every one-minute candle of every Deribit perpetual, complete, checked and queryable "
        "in TimescaleDB. All times are UTC.",
        epilog="Exit codes: 0 done, 1 failed (one line on stderr says what and what to do), 2 wrong usage, "
        "130 interrupted (Ctrl-C), 143 terminated. Settings: PGHOST PGPORT PGDATABASE PGUSER PGPASSWORD "
        "(no PGHOST: the embedded server), DERIBIT_API_URL, DERIBIT_ALLOW_HTTP, DERIBIT_REQUESTS_PER_SECOND, "
        "PERPS_HOME, PERPS_CACHE. Flags override environment variables.",
    )
    parser.add_argument("--version", action="version", version=f"perps {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="also print log messages to stderr")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_loading(subparsers)
    _add_checking(subparsers)
    _add_reading(subparsers)
    _add_database(subparsers)
    _add_simulator(subparsers)
    return parser


def _command(
    subparsers: Subparsers,
    name: str,
    run: str,
    text: str,
) -> argparse.ArgumentParser:
    added = subparsers.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    added.set_defaults(run=run)
    return added


def _api_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--api-url", metavar="URL", help="base URL of the API (default: DERIBIT_API_URL)")
    parser.add_argument(
        "--requests-per-second",
        type=float,
        metavar="N",
        help="request rate limit, over all instruments (default: 20)",
    )


def _instruments_flag(parser: argparse.ArgumentParser, all_of: str, nothing: str) -> None:
    parser.add_argument(
        "--instruments",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"names separated by commas or spaces, or 'all' for every {all_of} ({nothing})",
    )


def _selection_flags(parser: argparse.ArgumentParser, nothing: str) -> None:
    _instruments_flag(parser, "perpetual", nothing)
    parser.add_argument(
        "--resolution",
        default="1",
        metavar="R",
        help=f"candle length in minutes, or 1D: {', '.join(RESOLUTIONS)} (default: 1)",
    )


def _times_flags(parser: argparse.ArgumentParser, start: str, end: str) -> None:
    parser.add_argument(
        "--start",
        metavar="TIME",
        help=f"inclusive; a date, an ISO time or milliseconds, UTC (default: {start})",
    )
    parser.add_argument("--end", metavar="TIME", help=f"exclusive (default: {end})")


def _lookback_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lookback",
        type=int,
        default=DEFAULT_LOOKBACK,
        metavar="N",
        help="recent candles to fetch again, to catch late revisions (default: %(default)s)",
    )


def _load_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--package-candles",
        type=int,
        default=DEFAULT_PACKAGE,
        metavar="N",
        help="maximum candles per load package; limits memory use (default: %(default)s)",
    )
    _wait_flag(parser)
    _api_flags(parser)


def _wait_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait",
        type=int,
        default=0,
        metavar="SECONDS",
        help="wait up to this long for another load or build to finish (default: 0)",
    )


def _out_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default="reports", metavar="DIR", help="folder for the report (default: reports)"
    )


def _add_loading(subparsers: Subparsers) -> None:
    demo = _command(
        subparsers,
        "demo",
        "running:demo",
        "load, build and report 30 days of synthetic candles, with an embedded server and a simulator",
    )
    _out_flag(demo)
    backfill = _command(
        subparsers,
        "backfill",
        "loading:backfill",
        "load a range of candles, whether or not it was loaded before",
    )
    _times_flags(backfill, "listing", "the last closed candle")
    _selection_flags(backfill, "required")
    _lookback_flag(backfill)
    _load_flags(backfill)
    update = _command(subparsers, "update", "loading:update", "load new candles, up to the last closed one")
    _selection_flags(update, "default: every instrument already loaded")
    _lookback_flag(update)
    _load_flags(update)
    run = _command(subparsers, "run", "running:run", "update, build and report; the command to schedule")
    run.add_argument(
        "--repair",
        action="store_true",
        help="then repair gaps, as perps repair does, and build again",
    )
    run.add_argument("--no-report", dest="report", action="store_false", help="do not write a report")
    _selection_flags(run, "default: every instrument already loaded")
    _lookback_flag(run)
    _load_flags(run)
    _out_flag(run)


def _add_checking(subparsers: Subparsers) -> None:
    repair = _command(subparsers, "repair", "mending:repair", "fetch the gaps that the last dbt build found")
    repair.add_argument("--dry-run", action="store_true", help="print what would be fetched, and stop")
    repair.add_argument(
        "--again",
        action="store_true",
        help="also fetch gaps for which Deribit had no data within the last day",
    )
    _load_flags(repair)
    verify = _command(
        subparsers,
        "verify",
        "checking:verify",
        "compare stored candles with what Deribit returns now; loads nothing",
    )
    verify.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="number of random windows of up to 5,000 candles to compare (default: 10)",
    )
    verify.add_argument(
        "--seed", type=int, metavar="N", help="random seed; repeat a printed seed to check the same windows"
    )
    _times_flags(verify, "the first candle of the table", "its last; a range is compared in full")
    _instruments_flag(verify, "one in the table", "the default")
    _api_flags(verify)
    reconcile = _command(
        subparsers,
        "reconcile",
        "checking:reconcile",
        "compare aggregated candles with Deribit's own longer candles",
    )
    reconcile.add_argument(
        "--resolution",
        default="1D",
        metavar="R",
        help="resolution of Deribit's candles: 3, 5, 10, 15, 30, 60, 120, 720 or 1D (default: 1D)",
    )
    _times_flags(reconcile, "the first candle of the table", "its last")
    _instruments_flag(reconcile, "one in the table", "the default")
    _load_flags(reconcile)
    audit = _command(
        subparsers,
        "audit",
        "checking:audit",
        "recompute all checked models from every candle and compare; slow",
    )
    _wait_flag(audit)
    doctor = _command(
        subparsers,
        "doctor",
        "doctor:doctor",
        "check this installation, or the Deribit API, for problems; changes nothing",
    )
    doctor.add_argument(
        "--exchange",
        action="store_true",
        help="check that the Deribit API still behaves as this code expects",
    )
    _api_flags(doctor)


def _add_reading(subparsers: Subparsers) -> None:
    report = _command(
        subparsers,
        "report",
        "reading:report",
        "write the report: an HTML page, and its data as CSV and text files",
    )
    _out_flag(report)
    exported = _command(subparsers, "export", "export:run", export.TEXT)
    _instruments_flag(exported, "one in the table", "the default")
    _times_flags(exported, "the first candle of the table", "its last")
    export.add_arguments(exported)
    instruments = _command(subparsers, "instruments", "reading:instruments", "list Deribit's perpetuals")
    _api_flags(instruments)
    dbt = _command(
        subparsers,
        "dbt",
        "reading:dbt",
        "run dbt with the connection set up, for example: perps dbt -- build",
    )
    _wait_flag(dbt)
    dbt.add_argument("arguments", nargs=argparse.REMAINDER, metavar="-- ARGUMENTS", help="arguments for dbt")


def _add_database(subparsers: Subparsers) -> None:
    db = subparsers.add_parser("db", help="the embedded TimescaleDB", description="The embedded TimescaleDB.")
    actions = db.add_subparsers(title="actions", metavar="ACTION", required=True)
    start = _command(actions, "start", "database:start", "start the server; installs it first if necessary")
    start.add_argument(
        "--port", type=int, metavar="N", help="TCP port (default: the last one used, or any free port)"
    )
    _command(actions, "stop", "database:stop", "stop the server; data is kept")
    _command(actions, "status", "database:status", "show server status; exits with 1 if it is not running")
    for name, run, text in (
        ("env", "database:env", 'print the connection as libpq variables, for: eval "$(perps db env)"'),
        ("url", "database:url", "print the connection as a URL, including the password"),
        ("psql", "database:psql", "open psql; arguments after -- are passed to it"),
    ):
        added = _command(actions, name, run, text)
        added.add_argument("--database", metavar="NAME", help="database name (default: perps)")
        added.add_argument("--reader", action="store_true", help="connect as the read-only role perps_reader")
        if name == "psql":
            added.add_argument(
                "arguments", nargs=argparse.REMAINDER, metavar="-- ARGUMENTS", help="arguments for psql"
            )
    for name, run, text, of in (
        (
            "backup",
            "database:backup",
            "back up a database to a file; loads can continue",
            "overwritten if it exists",
        ),
        (
            "restore",
            "database:restore",
            "restore a backup into an empty database",
            "as written by perps db backup",
        ),
    ):
        added = _command(actions, name, run, text)
        added.add_argument("file", metavar="FILE", help=f"file in pg_dump's custom format; {of}")
        added.add_argument("--database", metavar="NAME", help="database name (default: perps)")
    destroy = _command(actions, "destroy", "database:destroy", "stop the server and delete all its data")
    destroy.add_argument(
        "--yes", action="store_true", help="confirm that all databases of the server are to be deleted"
    )


def _add_simulator(subparsers: Subparsers) -> None:
    simulate = _command(
        subparsers,
        "simulate",
        "simulator:simulate",
        "run a local Deribit simulator; prints its base URL first",
    )
    simulate.add_argument(
        "--candles", metavar="FILE.csv", help="replay recorded candles instead of generating a market"
    )
    simulate.add_argument(
        "--instrument", metavar="NAME", help="instrument of the recorded candles (default: BTC-PERPETUAL)"
    )
    simulate.add_argument(
        "--seed", type=int, default=7, metavar="N", help="random seed of the generated market (default: 7)"
    )
    simulate.add_argument(
        "--port", type=int, default=0, metavar="N", help="TCP port (default: any free port)"
    )
    simulate.add_argument("--clock", metavar="TIME", help="freeze the clock at this UTC time")
    simulate.add_argument(
        "--latency-ms", type=float, default=0, metavar="N", help="delay before each response"
    )
    simulate.add_argument(
        "--limit",
        type=float,
        default=20,
        metavar="N",
        help="rate limit in requests per second; 0 for none (default: 20)",
    )
    simulate.add_argument(
        "--burst", type=int, default=100, metavar="N", help="burst size of the rate limit (default: 100)"
    )
    simulate.add_argument("--faults", metavar="FILE.json", help="faults to inject, as JSON")
    simulate.add_argument(
        "--extra-instruments", type=int, default=0, metavar="N", help="number of additional small perpetuals"
    )
    simulate.add_argument(
        "--prepare",
        nargs="*",
        metavar="NAME",
        help="precompute all minutes of these instruments (default: all), for faster responses",
    )

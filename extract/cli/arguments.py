"""What a person can type: commands, flags and their help, one function a group of commands."""

from __future__ import annotations

import argparse

from extract import __version__
from extract.core.resolution import RESOLUTIONS
from extract.load.plan import DEFAULT_LOOKBACK, DEFAULT_PACKAGE

Subparsers = argparse._SubParsersAction  # argparse gives it no public name


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser = argparse.ArgumentParser(
        prog="perps",
        description="Every one-minute candle of every Deribit perpetual, complete, checked and queryable "
        "in TimescaleDB. All times are UTC.",
        epilog="Exit codes: 0 done, 1 failed (one line on stderr says what and what to do), 2 wrong usage, "
        "130 interrupted, 143 terminated. Settings: PGHOST PGPORT PGDATABASE PGUSER PGPASSWORD (no PGHOST: "
        "the embedded server), DERIBIT_API_URL, DERIBIT_ALLOW_HTTP, DERIBIT_REQUESTS_PER_SECOND, PERPS_HOME, "
        "PERPS_CACHE. Flags win.",
    )
    parser.add_argument("--version", action="version", version=f"perps {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what goes to the log file, too")
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
    parser.add_argument("--api-url", metavar="URL", help="base address of the API (default: DERIBIT_API_URL)")
    parser.add_argument(
        "--requests-per-second", type=float, metavar="N", help="budget of all requests together (default: 20)"
    )


def _instruments_flag(parser: argparse.ArgumentParser, all_of: str, nothing: str) -> None:
    parser.add_argument(
        "--instruments",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"separated by commas or spaces, 'all' for every {all_of} ({nothing})",
    )


def _selection_flags(parser: argparse.ArgumentParser, nothing: str) -> None:
    _instruments_flag(parser, "perpetual", nothing)
    parser.add_argument(
        "--resolution",
        default="1",
        metavar="R",
        help=f"length of a candle in minutes, or 1D: {', '.join(RESOLUTIONS)} (default: 1)",
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
        help="candles up to each cursor that an update asks again for late revisions (default: %(default)s)",
    )


def _load_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--package-candles",
        type=int,
        default=DEFAULT_PACKAGE,
        metavar="N",
        help="most candles in one load package, which bounds memory (default: %(default)s)",
    )
    _wait_flag(parser)
    _api_flags(parser)


def _wait_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait",
        type=int,
        default=0,
        metavar="SECONDS",
        help="how long to wait for another load or build to end (default: not at all)",
    )


def _out_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default="reports", metavar="DIR", help="folder of the report (default: reports)"
    )


def _add_loading(subparsers: Subparsers) -> None:
    demo = _command(
        subparsers,
        "demo",
        "running:demo",
        "embedded server, simulator, dbt build and report on 30 days of synthetic candles",
    )
    _out_flag(demo)
    backfill = _command(
        subparsers, "backfill", "loading:backfill", "load the candles of a range, whatever was loaded before"
    )
    _times_flags(backfill, "listing", "the last closed candle")
    _selection_flags(backfill, "required")
    _lookback_flag(backfill)
    _load_flags(backfill)
    update = _command(
        subparsers, "update", "loading:update", "load from each cursor to the last closed candle"
    )
    _selection_flags(update, "default: every instrument loaded before")
    _lookback_flag(update)
    _load_flags(update)
    run = _command(
        subparsers, "run", "running:run", "update, dbt build, report: the thing to put in a scheduler"
    )
    run.add_argument(
        "--repair",
        action="store_true",
        help="ask again for the gaps that the build finds, as perps repair does, and build what that loads",
    )
    run.add_argument(
        "--no-report", dest="report", action="store_false", help="write no report after the build"
    )
    _selection_flags(run, "default: every instrument loaded before")
    _lookback_flag(run)
    _load_flags(run)
    _out_flag(run)


def _add_checking(subparsers: Subparsers) -> None:
    repair = _command(
        subparsers, "repair", "mending:repair", "ask again for every gap that the last dbt build found"
    )
    repair.add_argument("--dry-run", action="store_true", help="print what would be asked, and ask nothing")
    repair.add_argument(
        "--again",
        action="store_true",
        help="also ask for gaps that deribit had nothing for less than a day ago",
    )
    _load_flags(repair)
    verify = _command(
        subparsers, "verify", "checking:verify", "ask again for past candles and compare; load nothing"
    )
    verify.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="how many windows of up to 5,000 candles to draw from all history (default: 10)",
    )
    verify.add_argument("--seed", type=int, metavar="N", help="draw the same windows again (default: others)")
    _times_flags(verify, "the first candle of the table", "its last; a range is compared whole")
    _instruments_flag(verify, "one in the table", "the default")
    _api_flags(verify)
    reconcile = _command(
        subparsers,
        "reconcile",
        "checking:reconcile",
        "compare the candles, added up, with deribit's own longer ones",
    )
    reconcile.add_argument(
        "--resolution",
        default="1D",
        metavar="R",
        help="of deribit's candles: 3, 5, 10, 15, 30, 60, 120, 720 or 1D (default: 1D)",
    )
    _times_flags(reconcile, "the first candle of the table", "its last")
    _instruments_flag(reconcile, "one in the table", "the default")
    _load_flags(reconcile)
    audit = _command(
        subparsers,
        "audit",
        "checking:audit",
        "recompute every checked model from all candles and compare; reads everything",
    )
    _wait_flag(audit)
    doctor = _command(
        subparsers,
        "doctor",
        "doctor:doctor",
        "say what is wrong in this place, or with what is known of deribit; change nothing",
    )
    doctor.add_argument(
        "--exchange",
        action="store_true",
        help="ask deribit instead whether each fact that the code depends on still holds",
    )
    _api_flags(doctor)


def _add_reading(subparsers: Subparsers) -> None:
    report = _command(
        subparsers,
        "report",
        "reading:report",
        "write report.html, the page, and its figures as CSV and text files",
    )
    _out_flag(report)
    instruments = _command(
        subparsers, "instruments", "reading:instruments", "list the perpetuals that Deribit lists"
    )
    _api_flags(instruments)
    dbt = _command(
        subparsers, "dbt", "reading:dbt", "run dbt with the connection filled in, such as: perps dbt -- build"
    )
    _wait_flag(dbt)
    dbt.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="-- ARGUMENTS", help="what to pass to dbt"
    )


def _add_database(subparsers: Subparsers) -> None:
    db = subparsers.add_parser("db", help="the embedded TimescaleDB", description="The embedded TimescaleDB.")
    actions = db.add_subparsers(title="actions", metavar="ACTION", required=True)
    start = _command(actions, "start", "database:start", "install what is missing and start the server")
    start.add_argument("--port", type=int, metavar="N", help="default: the last one, or any that is free")
    _command(actions, "stop", "database:stop", "stop the server; the data stays")
    _command(actions, "status", "database:status", "say what runs where; exit code 1 when nothing does")
    for name, run, text in (
        ("env", "database:env", 'print the libpq variables, for: eval "$(perps db env)"'),
        ("url", "database:url", "print the connection as a URL, with its password"),
        ("psql", "database:psql", "open psql; arguments after -- go to psql"),
    ):
        added = _command(actions, name, run, text)
        added.add_argument("--database", metavar="NAME", help="default: perps")
        added.add_argument("--reader", action="store_true", help="as the read-only role perps_reader")
        if name == "psql":
            added.add_argument("arguments", nargs=argparse.REMAINDER, metavar="-- ARGUMENTS", help="for psql")
    for name, run, text, of in (
        ("backup", "database:backup", "write a database to a file; loads may go on meanwhile", "replaced"),
        ("restore", "database:restore", "make a database of such a file; it must have no tables", "read"),
    ):
        added = _command(actions, name, run, text)
        added.add_argument("file", metavar="FILE", help=f"of pg_dump's custom format; {of}")
        added.add_argument("--database", metavar="NAME", help="default: perps")
    destroy = _command(actions, "destroy", "database:destroy", "stop the server and delete all its data")
    destroy.add_argument("--yes", action="store_true", help="really delete every database of the server")


def _add_simulator(subparsers: Subparsers) -> None:
    simulate = _command(
        subparsers, "simulate", "simulator:simulate", "serve a local Deribit; prints its base address first"
    )
    simulate.add_argument(
        "--candles", metavar="FILE.csv", help="replay recorded candles instead of a made-up market"
    )
    simulate.add_argument(
        "--instrument", metavar="NAME", help="whose candles the file holds (default: BTC-PERPETUAL)"
    )
    simulate.add_argument(
        "--seed", type=int, default=7, metavar="N", help="of the made-up market (default: 7)"
    )
    simulate.add_argument("--port", type=int, default=0, metavar="N", help="default: any that is free")
    simulate.add_argument("--clock", metavar="TIME", help="freeze the clock at a UTC time")
    simulate.add_argument("--latency-ms", type=float, default=0, metavar="N", help="wait before each answer")
    simulate.add_argument(
        "--limit",
        type=float,
        default=20,
        metavar="N",
        help="requests a second before 429; 0: no limit (default: 20)",
    )
    simulate.add_argument(
        "--burst", type=int, default=100, metavar="N", help="requests at once (default: 100)"
    )
    simulate.add_argument("--faults", metavar="FILE.json", help="faults to inject")
    simulate.add_argument(
        "--extra-instruments", type=int, default=0, metavar="N", help="more small perpetuals"
    )
    simulate.add_argument(
        "--prepare",
        nargs="*",
        metavar="NAME",
        help="render all minutes of these instruments first (default: of all), to answer without computing",
    )

"""The command line: arguments, exit codes, and one line when something is wrong."""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import logging.handlers
import sys
import time
from collections.abc import Sequence

from extract.errors import PerpsError
from extract.resolution import RESOLUTIONS
from extract.settings import DEFAULT_LOOKBACK, DEFAULT_PACKAGE, Settings, read_settings

log = logging.getLogger(__name__)

LOG_BYTES, LOG_FILES = 10_000_000, 5
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `perps`; return the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    args = build_parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # keeps its order with stderr in a file or a pipe
    try:
        settings = read_settings(flags=args)
        start_logging(settings)
        module, _, name = args.run.partition(":")
        command = getattr(importlib.import_module(f"extract.commands.{module}"), name)
        return int(command(args, settings))
    except PerpsError as error:
        log.error("%s", error, extra={"shown": True})
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted: what was loaded is safe, run the same command again", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return 1
    except Exception as error:
        log.exception("unexpected failure", extra={"shown": True})
        reason = " ".join(str(error).split())[:300]
        print(f"error: unexpected {type(error).__name__}: {reason}; the log has the rest", file=sys.stderr)
        return 1


def start_logging(settings: Settings) -> None:
    """Log everything to a rotating file (10 MB, 5 files); warnings and the server's long steps to stderr.

    Raises:
        PerpsError: the folder for logs cannot be made or written.
    """
    try:
        settings.logs.mkdir(parents=True, exist_ok=True)
        file = logging.handlers.RotatingFileHandler(
            settings.logs / "perps.log", maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1, encoding="utf-8"
        )
    except OSError as error:
        raise PerpsError(
            f"expected to write logs to {settings.logs}, got {error.strerror}; set PERPS_HOME"
        ) from None
    form = logging.Formatter("%(asctime)sZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    form.converter = time.gmtime
    file.setFormatter(form)
    screen = logging.StreamHandler()
    screen.addFilter(_for_people)
    own = logging.getLogger("extract")
    for handler in own.handlers[:]:
        own.removeHandler(handler)
        handler.close()
    own.setLevel(logging.INFO)
    own.propagate = False
    own.addHandler(file)
    own.addHandler(screen)


def _for_people(record: logging.LogRecord) -> bool:
    if getattr(record, "shown", False) or record.exc_info:
        return False
    return record.levelno >= logging.WARNING or record.name.startswith("extract.server")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser = argparse.ArgumentParser(
        prog="perps",
        description="Every one-minute candle of every Deribit perpetual, complete, checked and queryable "
        "in TimescaleDB. All times are UTC.",
        epilog="Exit codes: 0 done, 1 failed (one line on stderr says what and what to do), 2 wrong usage, "
        "130 interrupted. Settings: PGHOST PGPORT PGDATABASE PGUSER PGPASSWORD (no PGHOST: the embedded "
        "server), DERIBIT_API_URL, DERIBIT_REQUESTS_PER_SECOND, PERPS_HOME, PERPS_CACHE. Flags win.",
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_loading(subparsers)
    _add_reading(subparsers)
    _add_database(subparsers)
    _add_simulator(subparsers)
    return parser


def _command(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
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


def _range_flags(parser: argparse.ArgumentParser, nothing: str) -> None:
    parser.add_argument(
        "--instruments",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"separated by commas or spaces, 'all' for every perpetual ({nothing})",
    )
    parser.add_argument(
        "--resolution",
        default="1",
        metavar="R",
        help=f"length of a candle in minutes, or 1D: {', '.join(RESOLUTIONS)} (default: 1)",
    )


def _load_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lookback",
        type=int,
        default=DEFAULT_LOOKBACK,
        metavar="N",
        help="candles up to each cursor that an update asks again for late revisions (default: %(default)s)",
    )
    parser.add_argument(
        "--package-candles",
        type=int,
        default=DEFAULT_PACKAGE,
        metavar="N",
        help="most candles in one load package, which bounds memory (default: %(default)s)",
    )
    _api_flags(parser)


def _out_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default="reports", metavar="DIR", help="folder of the report (default: reports)"
    )


def _add_loading(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = _command(
        subparsers,
        "demo",
        "loading:demo",
        "embedded server, simulator, dbt build and report on 30 days of synthetic candles",
    )
    _out_flag(demo)
    backfill = _command(
        subparsers, "backfill", "loading:backfill", "load the candles of a range, whatever was loaded before"
    )
    backfill.add_argument(
        "--start", metavar="TIME", help="inclusive; a date or an ISO time, UTC (default: listing)"
    )
    backfill.add_argument("--end", metavar="TIME", help="exclusive (default: the last closed candle)")
    _range_flags(backfill, "required")
    _load_flags(backfill)
    update = _command(
        subparsers, "update", "loading:update", "load from each cursor to the last closed candle"
    )
    _range_flags(update, "default: every instrument loaded before")
    _load_flags(update)
    repair = _command(
        subparsers, "repair", "loading:repair", "ask again for every gap that the last dbt build found"
    )
    repair.add_argument("--dry-run", action="store_true", help="print what would be asked, and ask nothing")
    _load_flags(repair)
    run = _command(
        subparsers, "run", "loading:run", "update, dbt build, report: the thing to put in a scheduler"
    )
    _range_flags(run, "default: every instrument loaded before")
    _load_flags(run)
    _out_flag(run)


def _add_reading(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    report = _command(
        subparsers, "report", "reading:report", "write gap-report.csv, sanity-report.csv and row-counts.txt"
    )
    _out_flag(report)
    instruments = _command(
        subparsers, "instruments", "reading:instruments", "list the perpetuals that Deribit lists"
    )
    _api_flags(instruments)
    dbt = _command(
        subparsers, "dbt", "reading:dbt", "run dbt with the connection filled in, such as: perps dbt -- build"
    )
    dbt.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="-- ARGUMENTS", help="what to pass to dbt"
    )


def _add_database(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    destroy = _command(actions, "destroy", "database:destroy", "stop the server and delete all its data")
    destroy.add_argument("--yes", action="store_true", help="really delete every database of the server")


def _add_simulator(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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


if __name__ == "__main__":
    sys.exit(main())

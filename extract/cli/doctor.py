"""`perps doctor`: check this installation, or the Deribit API."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable

from extract.cli import flags
from extract.doctor.api import Api, make_client
from extract.doctor.contract import DIFFERS, UNKNOWN, examine
from extract.doctor.database import DatabaseChecks
from extract.doctor.facts import FACTS
from extract.doctor.lines import OK, WRONG, Line, attempt, in_turn
from extract.doctor.machine import machine_checks
from extract.errors import PerpsError
from extract.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perps doctor`."""
    parser.add_argument(
        "--exchange",
        action="store_true",
        help="check that the Deribit API still behaves as this code expects",
    )
    flags.api(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Check this installation, or the exchange; change nothing.

    Raises:
        PerpsError: a check failed.
    """
    return exchange(settings) if args.exchange else installation(settings)


def installation(settings: Settings) -> int:
    """Print a line for each check of this machine, the API and the database."""
    api = Api(settings)
    database = DatabaseChecks(settings, api)
    wrong = _printed(attempt(*check) for check in machine_checks(settings).items())
    wrong += _printed(in_turn(api.checks, "api", "check the network, the proxy and DERIBIT_API_URL"))
    wrong += _printed(in_turn(database.checks, "database", "check the PG variables and the network"))
    if wrong:
        raise PerpsError(f"problems found: {', '.join(wrong)}; do what the lines above say")
    return 0


def exchange(settings: Settings) -> int:
    """Print a line for each fact about the API that the code depends on, and the totals."""
    findings = []
    for finding in examine(make_client(settings), FACTS):
        print(finding, flush=True)
        findings.append(finding)
    counts = Counter(finding.status for finding in findings)
    print(f"{counts[OK]} OK, {counts[DIFFERS]} differ, {counts[UNKNOWN]} unknown: {settings.api_url}")
    differing = [finding.fact.name for finding in findings if finding.status == DIFFERS]
    if differing:
        raise PerpsError(
            f"deribit differs from what this code expects: {', '.join(differing)}; report these lines, and "
            "load nothing until the code is fixed"
        )
    return 0


def _printed(lines: Iterable[Line]) -> list[str]:
    """Print each line as it arrives; return the subjects of those that are wrong."""
    wrong = []
    for line in lines:
        print(line)
        if line.status == WRONG:
            wrong.append(line.subject)
    return wrong

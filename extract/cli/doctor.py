"""`perps doctor`."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable

from extract.cli import flags
from extract.doctor.api import Api, asking
from extract.doctor.contract import DIFFERS, UNKNOWN, examine
from extract.doctor.database import DatabaseChecks
from extract.doctor.facts import FACTS
from extract.doctor.lines import OK, WRONG, Line, attempt, in_turn
from extract.doctor.machine import machine_checks
from extract.errors import PerpsError
from extract.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be typed after `perps doctor`."""
    parser.add_argument(
        "--exchange",
        action="store_true",
        help="check that the Deribit API still behaves as this code expects",
    )
    flags.api(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Look at this place, or at the exchange; change nothing.

    Raises:
        PerpsError: something is wrong.
    """
    return exchange(settings) if args.exchange else place(settings)


def place(settings: Settings) -> int:
    """Print a line for each check of this machine, the API and the database."""
    api = Api(settings)
    database = DatabaseChecks(settings, api)
    wrong = _printed(attempt(*check) for check in machine_checks(settings).items())
    wrong += _printed(in_turn(api.checks, "api", "check the network, the proxy and DERIBIT_API_URL"))
    wrong += _printed(in_turn(database.checks, "database", "check the PG variables and the network"))
    if wrong:
        raise PerpsError(f"expected nothing wrong, found {', '.join(wrong)}; do what the lines above say")
    return 0


def exchange(settings: Settings) -> int:
    """Print a line for each fact that the code depends on, and the sum."""
    findings = []
    for finding in examine(asking(settings), FACTS):
        print(finding, flush=True)
        findings.append(finding)
    counts = Counter(finding.status for finding in findings)
    print(f"{counts[OK]} OK, {counts[DIFFERS]} differ, {counts[UNKNOWN]} unknown: {settings.api_url}")
    differing = [finding.fact.name for finding in findings if finding.status == DIFFERS]
    if differing:
        raise PerpsError(
            f"expected deribit as documented, found otherwise: {', '.join(differing)}; report these lines, "
            "and load nothing before the code that they name is mended"
        )
    return 0


def _printed(lines: Iterable[Line]) -> list[str]:
    """Print lines as they come; return the subjects of those that are wrong."""
    wrong = []
    for line in lines:
        print(line)
        if line.status == WRONG:
            wrong.append(line.subject)
    return wrong

"""`perps instruments`: list Deribit's perpetuals."""

from __future__ import annotations

import argparse

from extract.cli import flags
from extract.cli.shared import client
from extract.core.times import format_time
from extract.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be typed after `perps instruments`."""
    flags.api(parser)


def run(_args: argparse.Namespace, settings: Settings) -> int:
    """List the perpetuals."""
    for found in client(settings).instruments().perpetuals:
        print(
            f"{found.name:<28} {found.instrument_type or '':<9} {found.base_currency or '':<10} "
            f"{found.quote_currency or '':<6} listed {format_time(found.created_ms)}"
        )
    return 0

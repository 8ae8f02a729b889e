"""`perps update`: load what is new."""

from __future__ import annotations

import argparse

from extract.cli import flags
from extract.cli.loading import chosen_endpoints, loading, print_result
from extract.core.names import split_names
from extract.load.result import LoadResult
from extract.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perps update`."""
    flags.selection(parser, "default: every instrument already loaded")
    flags.only(parser, "load")
    flags.lookback(parser)
    flags.load(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Load what is new and print the result."""
    print_result(load(args, settings))
    return 0


def load(args: argparse.Namespace, settings: Settings) -> LoadResult:
    """Load what is new and return the result."""
    names, endpoints = split_names(args.instruments), chosen_endpoints(args)
    with loading(args, settings) as loader:
        return loader.update(names, endpoints)

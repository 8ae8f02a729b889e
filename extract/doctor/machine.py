"""Checks of this machine: packages, request budget, disk."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement  # dlt and dbt bring it

from extract.doctor.lines import LOOK, OK, WRONG, Line
from extract.settings import DEFAULT_BURST, DEFAULT_RATE, Settings

PACKAGE = "deribit-perps"
SHOWN = ("dlt", "dbt-core", "psycopg2-binary", "pyarrow")
LITTLE, TOO_LITTLE = 2e9, 2e8
"""Bytes: BTC and ETH since listing take 2.5 GB as rows and 0.35 GB compressed (docs/performance.md); 500,000
candles under way, the largest package unless told otherwise, take below 0.1 GB."""


def machine_checks(settings: Settings) -> Mapping[str, Callable[[], Line]]:
    """Return the checks by subject; none stands on another."""
    return {
        "versions": versions,
        "request budget": partial(budget, settings.requests_per_second),
        "disk of loads": partial(free_disk, "disk of loads", settings.pipelines),
    }


def versions() -> Line:
    """Hold what is installed against the bounds that the package itself names."""
    subject, do = "versions", "run: make install"
    try:
        wanted = [Requirement(text) for text in requires(PACKAGE) or ()]
        found = {each.name: version(each.name) for each in wanted if not each.marker}
    except PackageNotFoundError as error:
        return Line(WRONG, subject, f"no package {error.name or error}", do)
    outside = [
        f"{each.name} {found[each.name]} is not {each.specifier}"
        for each in wanted
        if each.name in found and not each.specifier.contains(found[each.name], prereleases=True)
    ]
    if outside:
        return Line(WRONG, subject, ", ".join(outside), do)
    shown = ", ".join(f"{name} {found[name]}" for name in SHOWN)
    return Line(OK, subject, f"perps {version(PACKAGE)}, Python {platform.python_version()}, {shown}")


def budget(rate: float) -> Line:
    """Say how fast a load may ask."""
    found = f"{rate:g} requests a second, {DEFAULT_BURST} at once after a pause"
    if rate <= DEFAULT_RATE:
        return Line(OK, "request budget", found)
    do = f"deribit documents {DEFAULT_RATE:g}; lower DERIBIT_REQUESTS_PER_SECOND if loads are slowed down"
    return Line(LOOK, "request budget", found, do)


def free_disk(subject: str, folder: Path, used: str = "") -> Line:
    """Say how much is free where a folder is or will be.

    Args:
        subject: of the line.
        folder: need not exist.
        used: what is said beside it.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    status = WRONG if free < TOO_LITTLE else LOOK if free < LITTLE else OK
    do = "" if status == OK else "free some, or set PERPS_HOME to a folder of another disk"
    return Line(status, subject, f"{free / 1e9:,.1f} GB free for {folder}{used}", do)

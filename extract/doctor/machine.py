"""Checks of this machine: packages, request budget, disk."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement  # dlt and dbt depend on it

from extract.doctor.lines import LOOK, OK, WRONG, Line
from extract.settings import DEFAULT_BURST, DEFAULT_RATE, Settings

PACKAGE = "deribit-perps"
SHOWN = ("dlt", "dbt-core", "psycopg2-binary", "pyarrow")
LITTLE, TOO_LITTLE = 2e9, 2e8
"""Free bytes below which the check warns, and below which it fails. BTC and ETH since listing take 2.5 GB as
rows and 0.35 GB compressed (docs/performance.md); a package of 500,000 candles takes less than 0.1 GB."""


def machine_checks(settings: Settings) -> Mapping[str, Callable[[], Line]]:
    """Return the checks by subject; none depends on another."""
    return {
        "versions": versions,
        "request budget": partial(budget, settings.requests_per_second),
        "disk of loads": partial(free_disk, "disk of loads", settings.pipelines),
    }


def versions() -> Line:
    """Compare the installed versions with the bounds in the package's metadata."""
    subject, do = "versions", "run: make install"
    try:
        wanted = [Requirement(text) for text in requires(PACKAGE) or ()]
        found = {each.name: version(each.name) for each in wanted if not each.marker}
    except PackageNotFoundError as error:
        return Line(WRONG, subject, f"package {error.name or error} is not installed", do)
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
    """Report the request rate of loads."""
    found = f"{rate:g} requests a second, {DEFAULT_BURST} at once after a pause"
    if rate <= DEFAULT_RATE:
        return Line(OK, "request budget", found)
    do = f"deribit documents {DEFAULT_RATE:g}; lower DERIBIT_REQUESTS_PER_SECOND if loads are slowed down"
    return Line(LOOK, "request budget", found, do)


def free_disk(subject: str, folder: Path, used: str = "") -> Line:
    """Report the free disk space for a folder.

    Args:
        subject: subject of the line.
        folder: the folder; it need not exist.
        used: text to add to the line.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    status = WRONG if free < TOO_LITTLE else LOOK if free < LITTLE else OK
    do = "" if status == OK else "free disk space, or set PERPS_HOME to a folder on another disk"
    return Line(status, subject, f"{free / 1e9:,.1f} GB free for {folder}{used}", do)

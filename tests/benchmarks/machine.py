"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from extract.embedded.cluster import Status
from extract.embedded.settings_file import Machine
from tests.support.perps import PROJECT


def machine_facts(home: Path, server: Status | None) -> dict[str, str]:
    """Return processor, memory, disk, kernel and versions, as a person reads them."""
    here = Machine.here()
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in cpus if line.startswith("model name")]
    disk = shutil.disk_usage(home)
    facts = {
        "cpu": models[0] if models else platform.machine(),
        "cores": str(here.processors),
        "memory": f"{here.memory / 2**30:.1f} GiB",
        "disk": f"{_mount(home)}, {disk.free / 2**30:.0f} of {disk.total / 2**30:.0f} GiB free",
        "kernel": platform.release(),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "python": platform.python_version(),
        "dlt": version("dlt"),
        "dbt-core": version("dbt-core"),
        "commit": _commit(),
    }
    if server:
        facts["postgresql"] = str(server.pg_version)
        facts["timescaledb"] = f"{server.timescaledb_version} ({server.edition})"
    return facts


def _mount(path: Path) -> str:
    """Return device and file system that hold a path."""
    mounts = [line.split()[:3] for line in Path("/proc/mounts").read_text().splitlines()]
    holding = [mount for mount in mounts if path.resolve().is_relative_to(mount[1])]
    device, _, kind = max(holding, key=lambda mount: len(mount[1]), default=("?", "/", "?"))
    return f"{device} {kind}"


def _commit() -> str:
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said.stdout.strip()

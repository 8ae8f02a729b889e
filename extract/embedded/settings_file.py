"""PostgreSQL's settings for the embedded server, from the memory and processors that this process may use."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

MB = 1 << 20


@dataclass(frozen=True)
class Machine:
    """What the server may use: `memory` and `shared_memory` in bytes, and the number of `processors`."""

    memory: int
    processors: int
    shared_memory: int

    @classmethod
    def here(cls) -> Machine:
        """Return this machine's values, or the limits of its container or service."""
        shared = Path("/dev/shm")  # noqa: S108  # PostgreSQL puts its dynamic shared memory there
        return cls(
            memory=min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *cgroup_limits()]),
            processors=len(os.sched_getaffinity(0)),
            shared_memory=shutil.disk_usage(shared).total if shared.is_dir() else 0,
        )


def cgroup_limits(groups: Path = Path("/sys/fs/cgroup"), mine: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Return the memory limits of this process in bytes: its control group's and its parents'."""
    files = [groups / "memory.max", groups / "memory/memory.limit_in_bytes"]
    with contextlib.suppress(OSError):
        for line in mine.read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                folder, name = groups / path.lstrip("/"), "memory.max"
            elif "memory" in controllers.split(","):
                folder, name = groups / "memory" / path.lstrip("/"), "memory.limit_in_bytes"
            else:
                continue
            files += [parent / name for parent in (folder, *folder.parents) if parent.is_relative_to(groups)]
    limits = []
    for file in files:
        with contextlib.suppress(OSError, ValueError):  # absent, or the word "max"
            limits.append(int(file.read_text()))
    return limits


def settings(port: int, machine: Machine) -> dict[str, str]:
    """Return the settings that differ from PostgreSQL's defaults; durability stays on.

    The server listens on TCP on 127.0.0.1, without a Unix socket, whose path may have only 107 bytes. Shared
    memory goes to files if /dev/shm is as small as Docker's 64 MB.
    """
    mb, cpus = machine.memory // MB, machine.processors
    values: dict[str, object] = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 50,
        "timezone": "UTC",
        "log_timezone": "UTC",
        "lc_messages": "C",
        "shared_preload_libraries": "timescaledb",
        "timescaledb.telemetry_level": "off",
        "timescaledb.max_background_workers": 8,
        "jit": "off",
        "max_worker_processes": 3 + 8 + cpus,
        "max_parallel_workers": cpus,
        "max_parallel_workers_per_gather": (cpus + 1) // 2,
        "max_locks_per_transaction": 512,
        "shared_buffers": f"{clamp(mb // 8, 128 if mb >= 1024 else 32, 2048)}MB",
        "effective_cache_size": f"{max(mb // 2, 64)}MB",
        "maintenance_work_mem": f"{clamp(mb // 16, 64, 1024)}MB",
        "work_mem": f"{clamp(mb // 256, 4, 64)}MB",
        "max_wal_size": f"{8 if mb > 16000 else 2}GB",
        "checkpoint_timeout": "15min",
        "wal_level": "minimal",
        "max_wal_senders": 0,
        "wal_compression": "lz4",
        "fsync": "on",
        "synchronous_commit": "on",
        "client_connection_check_interval": "2s",  # ends the statement of a killed program
        "full_page_writes": "on",
        "autovacuum_naptime": "5min",  # or it would vacuum new rows during a long load, using a whole core
        "random_page_cost": 1.1,
        "effective_io_concurrency": 200,
        "dynamic_shared_memory_type": "posix" if machine.shared_memory >= 256 * MB else "mmap",
    }
    return {name: str(value) for name, value in values.items()}


def render(values: dict[str, str]) -> str:
    """Return the settings as lines of a PostgreSQL configuration file."""
    return "".join("{} = '{}'\n".format(name, value.replace("'", "''")) for name, value in values.items())


def clamp(value: int, low: int, high: int) -> int:
    """Return `value` moved into [low, high]."""
    return max(low, min(high, value))

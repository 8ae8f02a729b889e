"""Seconds of processor and bytes of memory of processes, read from /proc."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

MB = 1 << 20
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int, *, reaped: bool = False) -> float:
    """Return user and system seconds of a process; with `reaped` those of its ended children as well.

    0 when it is gone.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11 : 15 if reaped else 13]) / _TICKS


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that still run, theirs not included."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    found = [pid]
    for member in found:
        found += children(member)
    return found


def memory(pid: int, *fields: str) -> int:
    """Return the sum of fields of /proc/PID/status such as VmHWM, in bytes; 0 when the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    values = dict(line.split(":", 1) for line in lines)
    return sum(int(values[field].split()[0]) << 10 for field in fields if field in values)


def server_cpu_seconds(postmaster: int) -> float:
    """Return the seconds of a PostgreSQL server since it started, ended backends included."""
    return cpu_seconds(postmaster, reaped=True) + sum(map(cpu_seconds, children(postmaster)))


def server_memory(postmaster: int) -> int:
    """Return the private memory of all server processes and the shared memory that any of them has touched.

    Private is what is not shared with others (RssAnon). Shared buffers count once: as much of them as the
    process with most of them has touched.
    """
    pids = [postmaster, *children(postmaster)]
    shared = max(memory(pid, "RssShmem") for pid in pids)
    return shared + sum(memory(pid, "RssAnon") for pid in pids)


@dataclass
class Peaks:
    """The most memory seen so far, in bytes."""

    command: int = 0
    server: int = 0


class Watch:
    """Samples the memory of a command and of the server until it is left.

    The command's peak is its kernel-kept high-water mark (VmHWM), read every 50 ms, or more if it and its
    children together were seen to hold more. The server is looked at every 250 ms.
    """

    def __init__(self, command: int, postmaster: int | None) -> None:
        self.peaks = Peaks()
        self._command, self._postmaster = command, postmaster
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        peaks, turn = self.peaks, 0
        while True:
            together = sum(memory(pid, "VmRSS") for pid in family(self._command))
            peaks.command = max(peaks.command, memory(self._command, "VmHWM"), together)
            if self._postmaster and turn % 5 == 0:
                peaks.server = max(peaks.server, server_memory(self._postmaster))
            if self._done.wait(0.05):
                return
            turn += 1

"""What was injected and what came of it: a JSON line for each fault, and the table of them all.

`python -m tests.support.ledger [FILE ...]` prints the table; the default file is the one that tests write.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.support.truth import Row

FILE = Path(__file__).resolve().parents[2] / "target" / "faults.jsonl"


@dataclass(frozen=True)
class Injected:
    """One fault that was really injected.

    Attributes:
        group: where it hit: process, server, network, disk, api, clock, people.
        fault: what it was, in a few words; the line of the table.
        lost: rows of the truth that the table lacks afterwards, wrong values included.
        invented: rows of the table that the truth lacks, wrong values included.
        recovery_s: seconds that the undisturbed commands after it took, until the table was right.
    """

    group: str
    fault: str
    lost: int
    invented: int
    recovery_s: float

    @property
    def survived(self) -> bool:
        return self.lost == self.invented == 0


def judge(held: Iterable[Row], true: Iterable[Row]) -> tuple[int, int]:
    """Return how many rows of the truth are not held, and how many held ones are not true."""
    ours, theirs = list(held), set(true)
    twice = len(ours) - len(set(ours))
    return len(theirs - set(ours)), len(set(ours) - theirs) + twice


def record(injected: Injected) -> None:
    """Append a line to the ledger, then fail unless the fault was survived."""
    file = Path(os.environ.get("PERPS_FAULT_LEDGER") or FILE)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(asdict(injected)) + "\n")
    assert injected.survived, f"rows lost: {injected.lost}, rows invented: {injected.invented}"


def read(files: Iterable[Path]) -> list[Injected]:
    """Return every line of ledgers."""
    return [Injected(**json.loads(line)) for file in files for line in file.read_text().splitlines()]


def table(entries: Iterable[Injected]) -> str:
    """Return the table of faults as Markdown: counts, rows lost and invented, recovery in seconds."""
    faults: dict[tuple[str, str], list[Injected]] = {}
    for entry in entries:
        faults.setdefault((entry.group, entry.fault), []).append(entry)
    lines = [
        "| group | fault | injected | survived | rows lost | rows invented | recovery s, median (most) |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for (group, fault), hits in sorted(faults.items()):
        seconds = sorted(hit.recovery_s for hit in hits)
        lines.append(
            f"| {group} | {fault} | {len(hits)} | {sum(hit.survived for hit in hits)}"
            f" | {sum(hit.lost for hit in hits)} | {sum(hit.invented for hit in hits)}"
            f" | {seconds[len(seconds) // 2]:.1f} ({seconds[-1]:.1f}) |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    print(table(read(Path(argument) for argument in arguments or [str(FILE)])))


if __name__ == "__main__":
    main(sys.argv[1:])

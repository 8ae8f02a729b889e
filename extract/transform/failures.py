"""Describes the failures of a dbt command in one line, with the names that people search for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from extract.errors import PerpsError

FAILED = frozenset({"error", "fail", "runtime error", "partial success"})
"""dbt's statuses of a failed node. A skipped node is not one: it is a consequence of another failure."""

NAMED = 3


@dataclass(frozen=True, order=True)
class FailedNode:
    """A model, test, seed or operation that failed.

    Attributes:
        kind: dbt's resource type: model, test, seed, unit test, operation, ...
        name: as dbt calls it, such as perpetuals_ohlcv.
        failures: number of rows that a test found; 0 for other nodes.
        status: error, fail, runtime error or partial success.
    """

    kind: str
    name: str
    failures: int
    status: str

    def __str__(self) -> str:
        rows = f" ({self.failures:,} row{_s(self.failures)})" if self.kind == "test" and self.failures else ""
        return f"{self.name}{rows}"


@dataclass(frozen=True)
class BuildResult:
    """The result of a build: whether all of it succeeded, and what failed."""

    success: bool
    failed: tuple[FailedNode, ...] = ()


class NodesFailedError(PerpsError):
    """A model, a test or an operation failed; dbt has printed why, and the others have run.

    Attributes:
        failed: the failed nodes.
    """

    def __init__(self, message: str, failed: Sequence[FailedNode] = ()) -> None:
        super().__init__(message)
        self.failed = tuple(failed)


def raise_failed(arguments: Sequence[str], result: Any, advice: str = "") -> NoReturn:
    """Raise an error that names the failed nodes of a command, with their rows, and what to do next.

    Args:
        arguments: of the command.
        result: what dbt's runner returned: an object with `results`, or another one if no node ran.
        advice: what to do next; if empty, to see dbt's output, and after a failed test also the report.

    Raises:
        NodesFailedError: always.
    """
    failed = sorted(
        FailedNode(_kind(one), _name(one), one.failures or 0, str(one.status))
        for one in getattr(result, "results", ())
        if one.status in FAILED
    )
    kinds = Counter(node.kind for node in failed)
    counts = " and ".join(f"{count} {kind}{_s(count)}" for kind, count in kinds.items())
    more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
    what = f"{counts} failed: {', '.join(map(str, failed[:NAMED]))}{more}" if failed else "it failed"
    advice = advice or "see its output above" + (", run: perps report" if "test" in kinds else "")
    raise NodesFailedError(f"dbt {_command(arguments, result)} failed: {what}; {advice}", failed)


def _kind(result: Any) -> str:
    """Return the kind of a result's node; the result of an operation has none."""
    return str(result.node.resource_type).replace("_", " ") if hasattr(result, "node") else "operation"


def _name(result: Any) -> str:
    return str(result.node.name) if hasattr(result, "node") else str(result.unique_id).rpartition(".")[2]


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _command(arguments: Sequence[str], result: Any) -> str:
    """Return the command's name; options of dbt itself may stand before it."""
    return str(getattr(result, "args", {}).get("which") or " ".join(arguments))

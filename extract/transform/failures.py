"""What failed in a dbt command, in a line: the names first, because people search for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from extract.errors import PerpsError

FAILED = frozenset({"error", "fail", "runtime error", "partial success"})
"""dbt's words for a node that did not succeed; one that was skipped names nothing new."""

NAMED = 3


class NodesFailedError(PerpsError):
    """A model, a test or an operation failed; dbt has said why, and the others have run."""


def describe_failure(arguments: Sequence[str], result: Any, advice: str = "") -> str:
    """Return which nodes of a command failed, whole names and rows, and what to do next.

    Args:
        arguments: of the command.
        result: what dbt's runner returned for it: a list of results, or something else where it ran no nodes.
        advice: what to do next; the output of dbt, and the report after a failed test, where it is empty.
    """
    failed = sorted(
        (_kind(one), _name(one), one.failures or 0)
        for one in getattr(result, "results", ())
        if one.status in FAILED
    )
    kinds = Counter(kind for kind, _, _ in failed)
    counts = " and ".join(f"{count} {kind}{_s(count)}" for kind, count in kinds.items())
    names = [
        f"{name} ({rows:,} row{_s(rows)})" if kind == "test" and rows else name
        for kind, name, rows in failed[:NAMED]
    ]
    more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
    what = f"{counts} failed: {', '.join(names)}{more}" if failed else "it failed"
    advice = advice or "see its output above" + (", run: perps report" if "test" in kinds else "")
    return f"expected dbt {_command(arguments, result)} to succeed, {what}; {advice}"


def _kind(result: Any) -> str:
    """Return what a result is about; that of an operation has no node."""
    return str(result.node.resource_type).replace("_", " ") if hasattr(result, "node") else "operation"


def _name(result: Any) -> str:
    return str(result.node.name) if hasattr(result, "node") else str(result.unique_id).rpartition(".")[2]


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _command(arguments: Sequence[str], result: Any) -> str:
    """Return the command's name; options of dbt itself may stand before it."""
    return str(getattr(result, "args", {}).get("which") or " ".join(arguments))

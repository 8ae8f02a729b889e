"""Figures as they are measured: median, least and most of each, as a table and as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any


@dataclass
class Figure:
    """One thing that was measured, once a run. `goal` is what the project wants of the median, in words."""

    scenario: str
    case: str
    metric: str
    unit: str
    goal: str = ""
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Return the middle value."""
        return median(self.values)


class Results:
    """All figures, in the order in which they were first added."""

    def __init__(self, out: Path) -> None:
        self.facts: dict[str, str] = {}
        self.notes: dict[str, list[str]] = {}
        self.tables: dict[str, str] = {}
        self.scenario = ""
        self._out = out
        self._matrices: set[str] = set()
        self._figures: dict[tuple[str, str, str], Figure] = {}

    def add(self, case: str, metric: str, value: float, unit: str = "", goal: str = "") -> None:
        """Add a run's value of a metric of the scenario at work, and say it."""
        key = (self.scenario, case, metric)
        figure = self._figures.setdefault(key, Figure(*key, unit, goal))
        figure.values.append(value)

    def note(self, text: str) -> None:
        """Add a sentence that a reader of the scenario's figures needs; each is kept once."""
        notes = self.notes.setdefault(self.scenario, [])
        if text not in notes:
            notes.append(text)

    def table(self, markdown: str) -> None:
        """Keep the scenario's Markdown table."""
        self.tables[self.scenario] = markdown

    def median(self, case: str, metric: str) -> float | None:
        """Return the median so far, None when nothing was measured."""
        figure = self._figures.get((self.scenario, case, metric))
        return figure.median if figure else None

    def last(self, case: str, metric: str) -> float:
        """Return the value that was added last."""
        return self._figures[self.scenario, case, metric].values[-1]

    def progress(self, text: str) -> None:
        """Tell a person what is being done."""
        print(f"{datetime.now(UTC):%H:%M:%S} {self.scenario}: {text}", file=sys.stderr, flush=True)

    def matrix(self) -> None:
        """Show the scenario's medians with a column a case: for many cases of the same metrics."""
        self._matrices.add(self.scenario)

    def show(self) -> None:
        """Print the scenario's figures."""
        figures = [figure for figure in self._figures.values() if figure.scenario == self.scenario]
        if not figures:
            return
        print(f"\n== {self.scenario}")
        if self.scenario in self._matrices:
            _print_matrix(figures)
        else:
            _print_list(figures)
        for note in self.notes.get(self.scenario, []):
            print(f"   {note}")
        if self.scenario in self.tables:
            print(f"\n{self.tables[self.scenario]}")
        sys.stdout.flush()

    def save(self, options: Mapping[str, Any]) -> None:
        """Write everything measured so far."""
        self._out.parent.mkdir(parents=True, exist_ok=True)
        figures = [vars(figure) | {"median": figure.median} for figure in self._figures.values()]
        content = {"machine": self.facts, "options": options, "figures": figures}
        content |= {"notes": self.notes, "tables": self.tables}
        self._out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def number(value: float) -> str:
    """Return a number with as many decimals as tell anything."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 100 else f"{value:.1f}"


def _print_list(figures: Sequence[Figure]) -> None:
    """Print a line a figure."""
    rows = [("case", "metric", "median", "min", "max", "runs", "unit", "goal")]
    for figure in figures:
        spread = (figure.median, min(figure.values), max(figure.values))
        numbers = [number(value) for value in spread]
        rows.append((figure.case, figure.metric, *numbers, str(len(figure.values)), figure.unit, figure.goal))
    _print_aligned(rows, range(2, 6))


def _print_matrix(figures: Sequence[Figure]) -> None:
    """Print a line a metric and a numbered column a case, as medians."""
    cases = list(dict.fromkeys(figure.case for figure in figures))
    medians = {(figure.case, figure.metric): number(figure.median) for figure in figures}
    metrics = {figure.metric: figure for figure in reversed(figures)}
    for at, case in enumerate(cases, 1):
        print(f"   ({at}) {case}")
    rows = [("median of", *(f"({at})" for at in range(1, len(cases) + 1)), "unit", "goal")]
    for metric, figure in reversed(metrics.items()):
        values = [medians.get((case, metric), "") for case in cases]
        goals = {each.goal: None for each in figures if each.metric == metric and each.goal}
        rows.append((metric, *values, figure.unit, ", ".join(goals)))
    _print_aligned(rows, range(1, len(cases) + 1))


def _print_aligned(rows: Sequence[tuple[str, ...]], numbers: range) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            text.rjust(width) if at in numbers else text.ljust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())

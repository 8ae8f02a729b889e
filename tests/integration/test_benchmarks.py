"""The benchmark suite runs, writes what it measured, and leaves nothing behind. No figure is judged here."""

from __future__ import annotations

import json
import sys

from tests.support.perps import PROJECT, expect, run_program


def test_a_tiny_backfill_is_measured_and_nothing_is_left(tmp_path, home, environment, server):
    out, folder = tmp_path / "figures.json", home / "benchmarks"
    folder.mkdir(0o755)
    flags = ["--quick", "--unprepared", "--only", "memory", "--sizes", "0.005", "--out", str(out)]
    command = [sys.executable, "-m", "tests.benchmarks", *flags]
    printed = expect(run_program(command, {**environment, "TMPDIR": str(folder)}, PROJECT))
    assert list(folder.iterdir()) == []
    figures = {(each["case"], each["metric"]): each for each in json.loads(out.read_text())["figures"]}
    peak = figures["backfill 5,000", "peak memory pipeline"]
    assert len(peak["values"]) == 1
    assert peak["median"] > 10
    assert "backfill 5,000" in printed

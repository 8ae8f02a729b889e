"""What this tool and its peers go through in the benchmarks, and how their tables are judged."""

from __future__ import annotations

import pytest

from extract.simulator.faultparsing import parse_faults
from tests.benchmarks.peers.faults import HISTORY_MS, TRIALS, judge
from tests.benchmarks.peers.tools import install
from tests.benchmarks.stage import BenchmarkError

ONE, OTHER = (0, "BTC-PERPETUAL", 1), (60_000, "BTC-PERPETUAL", 1)


def test_a_table_is_judged_by_what_it_lacks_has_wrong_and_has_too_much():
    changed, strange = (*OTHER[:2], 2), (120_000, "BTC-PERPETUAL", 1)
    assert str(judge([ONE, OTHER], [ONE, OTHER])) == "0"
    assert str(judge([ONE], [ONE, OTHER])) == "1 lost"
    assert str(judge([ONE, changed], [ONE, OTHER])) == "1 wrong"
    assert str(judge([strange, ONE, ONE], [ONE, OTHER])) == "1 lost, 2 invented"


def test_a_candle_of_nulls_is_wrong():
    assert str(judge([(*ONE[:2], None)], [ONE])) == "1 wrong"


def test_there_are_ten_faults_that_the_simulator_knows_within_the_history():
    assert len({trial.name for trial in TRIALS}) == 10
    for trial in TRIALS:
        faults = parse_faults([*trial.first, *trial.later])
        assert faults or trial.killed or trial.forming or trial.names.count(",") == 2
        times = [getattr(fault, name) for fault in faults for name in ("start", "at") if hasattr(fault, name)]
        assert all(trial.now_ms - HISTORY_MS < at < trial.now_ms for at in times if at is not None)


def test_without_ccxt_one_line_says_why(tmp_path, monkeypatch):
    make = tmp_path / "make"
    make.write_text(
        "#!/bin/sh\necho 'WARNING: slow' >&2\necho 'ERROR: No matching distribution' >&2\nexit 2\n"
    )
    make.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        BenchmarkError, match=r"install ccxt \(ERROR: No matching distribution\); repeat with"
    ):
        install()

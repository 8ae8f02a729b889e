from __future__ import annotations

from extract.load.progress import Lines


def test_a_line_comes_after_10000_candles_or_10_seconds():
    now, lines = [0.0], []
    progress = Lines(lines.append, lambda: now[0])
    progress.planned(5)
    progress.fetched(9_999)
    assert lines == []
    now[0] = 2.0
    progress.fetched(1)
    assert lines == ["2 of 5 windows, 10,000 rows fetched, 0 landed"]
    now[0] = 11.0
    progress.fetched(1)
    assert len(lines) == 1
    now[0] = 12.0
    progress.fetched(1)
    assert lines[1:] == ["4 of 5 windows, 10,002 rows fetched, 0 landed"]
    progress.landed(7)  # always said
    assert lines[2:] == ["4 of 5 windows, 10,002 rows fetched, 7 landed"]

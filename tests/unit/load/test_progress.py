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
    assert lines == ["2 of 5 windows, 10,000 candles fetched, 0 landed"]
    now[0] = 11.0
    progress.fetched(1)
    assert len(lines) == 1
    now[0] = 12.0
    progress.fetched(1)
    assert lines[1:] == ["4 of 5 windows, 10,002 candles fetched, 0 landed"]


def test_lines_do_not_flood_when_candles_come_fast():
    lines: list[str] = []
    progress = Lines(lines.append, lambda: 0.5)
    for _ in range(100):
        progress.fetched(50_000)
    assert lines == []


def test_what_is_landed_is_always_said():
    lines: list[str] = []
    progress = Lines(lines.append, lambda: 0.0)
    progress.landed(7)
    assert lines == ["0 of 0 windows, 0 candles fetched, 7 landed"]

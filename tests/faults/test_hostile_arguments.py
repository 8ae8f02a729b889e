"""Numbers, times and files that nobody should type: one line, exit code 2, and nothing was begun."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.people import harmless_error
from tests.support.perps import expect

BTC = ("--instruments", "BTC-PERPETUAL")
NO_TIME = "expected a date, an ISO time or milliseconds"
NOWHERE = {"PGHOST": "127.0.0.1", "PGPORT": "9", "PGUSER": "x", "DERIBIT_API_URL": "http://127.0.0.1:9/api"}
COLUMNS = "tick_ms,open,high,low,close,volume_base"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("update", "--lookback", str(10**30)), "expected --lookback of at most 100000 candles"),
        (("update", "--lookback", "-1"), "expected --lookback of at least 0 candles"),
        (("update", "--load-candles", str(10**30)), "expected --load-candles of at most 10000000"),
        (("backfill", *BTC, "--resolution", "1'\n--"), "expected a resolution of 1, 3, 5"),
        (("backfill", *BTC, "--start", "2024-01-01'; drop table x; --"), NO_TIME),
        (("backfill", *BTC, "--start", "\x1b[2J\x1b]0;x\x07"), NO_TIME),
        (("backfill", *BTC, "--end", "٢٠٢٤-01-01"), NO_TIME),
        (("backfill", *BTC, "--end", "0001-01-01"), "expected a time from 2016 to 2100"),
        (("update", "--requests-per-second", "nan"), "expected a number above 0"),
        (("instruments", "--api-url", "http://169.254.169.254/latest"), "expected https"),
        (("instruments", "--api-url", "https://ada:s3cret@x"), "expected no user or password"),
        (("simulate", "--latency-ms", "nan"), "expected latency-ms"),
        (("simulate", "--clock", "x\n\x1b[2J"), "expected clock"),
    ],
    ids=lambda value: ascii(value[1:])[:50] if isinstance(value, tuple) else None,
)
def test_what_cannot_be_meant_is_refused(arguments: tuple[str, ...], message: str, typed) -> None:
    said = typed(*arguments, **NOWHERE)
    assert message in harmless_error(said, 2)
    assert "s3cret" not in said.stderr


@pytest.mark.parametrize(
    ("flag", "content"),
    [
        ("--candles", b""),
        ("--candles", b"\x00\xff\xfe\x1b[2J" * 500),
        ("--candles", COLUMNS.encode()),
        ("--candles", f"{COLUMNS}\n99999999999999999999,1,1,1,1,1\n".encode()),
        ("--candles", f"{COLUMNS}\n9223372036854715807,1,1,1,1,1\n9223372036854775807,1,1,1,1,1\n".encode()),
        ("--candles", f"{COLUMNS},tick_ms\n0,1,1,1,1,1,0\n60000,1,1,1,1,1,60000\n".encode()),
        ("--candles", b"=cmd|' /C calc'!A0\n1\n2\n"),
        ("--faults", b"{"),
        ("--faults", b"\xff"),
        ("--faults", b"[" * 100_000),
        ("--faults", b'[{"kind": ["http"]}]'),
        ("--faults", b'[{"kind": "value", "column": "\\u001b[2J"}]'),
    ],
    ids=lambda value: ascii(value)[:50],
)
def test_a_file_that_is_not_what_it_should_be_is_refused(
    flag: str, content: bytes, typed, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    said = typed("simulate", flag, str(file))
    error = harmless_error(said, 2)
    assert str(file) in error or "of fault 0" in error or "expected fault 0" in error
    assert said.stdout == ""


@pytest.mark.parametrize("name", ["$(touch pwned)`touch pwned`", "a'b\"c", "x; touch pwned", "per%s cent"])
def test_what_perps_db_env_prints_is_safe_to_evaluate(name: str, typed, tmp_path: Path) -> None:
    env = NOWHERE | {"PGPASSWORD": f"{name}'\n"}
    script = (
        f'{expect(typed("db", "env", "--database", name, **env))}\nprintf "%s|%s" "$PGDATABASE" "$PGPASSWORD"'
    )
    shell = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert shell.stdout == f"{name}|{name}'\n"
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(("mask", "logs"), [(0o000, 0o755), (0o022, 0o755), (0o077, 0o700)])
def test_others_may_not_write_and_the_server_may_pass_whatever_the_umask(
    mask: int, logs: int, typed, tmp_path: Path
) -> None:
    before = os.umask(mask)
    try:
        assert typed("db", "status").returncode == 1  # it says that nothing runs
    finally:
        os.umask(before)
    home = tmp_path / "home"
    modes = {path.name: path.stat().st_mode & 0o777 for path in (home, *home.rglob("*"))}
    assert modes == {"home": 0o755, "logs": logs, "perps.log": logs & 0o666}

"""Mutated chart replies: no exception but DeribitError, no tick or value that is not in the bytes."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extract.core.resolution import HOUR_MS, RESOLUTIONS, Resolution
from extract.deribit.candles import SCHEMA, VALUES, parse_chart
from extract.deribit.errors import DeribitError
from extract.deribit.replies import decode
from extract.simulator import SimulatorConfig
from extract.simulator.server import build
from tests.support.slow_reading import bits, slowly

TOKENS = (
    *(b"null", b"true", b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1e-400", b"-0", b"-0.0"),
    *(b"9007199254740993", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809"),
    *(
        b"18446744073709551615",
        b"18446744073709551616",
        b"9" * 400,
        b"9" * 5000,
        b"1.5",
        b"1E5",
        b"01",
        b"1.",
    ),
    *(
        b"[]",
        b"[1]",
        b"{}",
        b'"7"',
        b'"\\ud800"',
        b'"\\u0000"',
        b"\xff",
        b"\xef\xbb\xbf",
        b"\x00",
        b"\x1b",
        b"",
    ),
    *(b'"ok"', b'"no_data"', b'"ticks"', b'"error":{},', b'"error":{"code":{}},', b'"result"', b"[" * 2000),
)
ODD: tuple[Any, ...] = (None, True, "1", [1], {}, -1, 2**63, 1e308, 0)
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
TOKEN = re.compile(rb'"[^"]*"|-?[0-9.eE+-]+|[\[\]{}:,]|\w+')


@dataclass(frozen=True)
class Seed:
    """A sound reply and what was asked for it."""

    body: bytes
    resolution: Resolution
    start_ms: int
    end_ms: int


def seeds(recorded: Path | None = None) -> list[Seed]:
    """Return replies of the simulator, and the recorded ones of a folder."""
    simulator = build(SimulatorConfig(clock="2024-01-02", requests_per_second=None))
    found = []
    for name, rows in (("1", 0), ("1", 1), ("1", 7), ("1", 40), ("5", 3), ("360", 2), ("1D", 3)):
        resolution, start = RESOLUTIONS[name], 1_704_067_200_000 - 100 * HOUR_MS
        end = start + rows * resolution.step_ms - 1
        query = {"instrument_name": "BTC-PERPETUAL", "resolution": name}
        query |= {"start_timestamp": str(start), "end_timestamp": str(end)}
        answer = simulator.answer("get_tradingview_chart_data", query)
        found.append(Seed(answer.body, resolution, start, end))
    for file in sorted(recorded.glob("chart_*.json")) if recorded else []:
        ticks = json.loads(file.read_bytes())["result"]["ticks"] or [0]
        resolution = RESOLUTIONS["720" if "_720_" in file.name else "1"]
        found.append(Seed(file.read_bytes(), resolution, ticks[0], ticks[-1]))
    return found


def check(seed: Seed, body: bytes) -> bool:
    """Read a body as an answer to what was asked; tell whether it was a chart.

    Raises:
        AssertionError: the reading differs from Python's own json and plain loops.
        Exception: any other than DeribitError is a crash.
    """
    expected = slowly(body, seed.resolution, seed.start_ms, seed.end_ms)
    try:
        result = decode(200, {}, body, "h").result
        chart = parse_chart(result, seed.resolution, seed.start_ms, seed.end_ms)
    except DeribitError as error:
        assert expected is None, f"refused a sound reply: {error}"
        assert str(error).isprintable()
        return False
    assert chart.table.schema.equals(SCHEMA)
    ticks = chart.table["timestamp"].cast("int64").to_pylist()
    values = {name: list(map(bits, chart.table[name].to_pylist())) for name in VALUES}
    assert (ticks, values, chart.off_grid) == expected
    return True


def mutate(rng: random.Random, seed: Seed, others: list[Seed]) -> bytes:
    """Return the body of a seed after one to four mutations."""
    body = seed.body
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        body = rng.choice(MUTATIONS)(rng, body, others)
    return body


def _flip(rng: random.Random, body: bytes, _others: list[Seed]) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[:at] + bytes([rng.randrange(256)]) + body[at + rng.randrange(2) :]


def _cut(rng: random.Random, body: bytes, _others: list[Seed]) -> bytes:
    a, b = sorted(rng.randrange(len(body) + 1) for _ in range(2))
    return rng.choice((body[:a] + body[b:], body[:a], body[a:], body[:b] + body[a:]))


def _splice(rng: random.Random, body: bytes, others: list[Seed]) -> bytes:
    other = rng.choice(others).body
    return body[: rng.randrange(len(body) + 1)] + other[rng.randrange(len(other) + 1) :]


def _renumber(rng: random.Random, body: bytes, _others: list[Seed]) -> bytes:
    return _replace(rng, body, NUMBER, lambda old: rng.choice((*TOKENS, _near(rng, old))))


def _retoken(rng: random.Random, body: bytes, _others: list[Seed]) -> bytes:
    return _replace(rng, body, TOKEN, lambda _: rng.choice(TOKENS))


def _swap(rng: random.Random, body: bytes, _others: list[Seed]) -> bytes:
    tokens = list(TOKEN.finditer(body))
    if len(tokens) < 2:
        return body
    a, b = sorted(rng.sample(tokens, 2), key=lambda token: token.start())
    return body[: a.start()] + b[0] + body[a.end() : b.start()] + a[0] + body[b.end() :]


def _restructure(rng: random.Random, body: bytes, _others: list[Seed]) -> bytes:
    """Change the decoded reply: drop, double, rename, shorten or nest a member."""
    try:
        envelope = json.loads(body)
        place = envelope if rng.random() < 0.2 else envelope["result"]
        name = rng.choice(list(place))
        column = place[name]
        match rng.randrange(6):
            case 0:
                del place[name]
            case 1:
                place[name] = [column]
            case 2:
                place[name + "x"] = column
            case 3:
                place[name] = column[:-1]
            case 4:
                rng.shuffle(column)
            case 5:
                column[rng.randrange(len(column))] = rng.choice(ODD)
        return json.dumps(envelope).encode()
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, AttributeError):
        return body


def _replace(
    rng: random.Random, body: bytes, what: re.Pattern[bytes], new: Callable[[bytes], bytes]
) -> bytes:
    found = list(what.finditer(body))
    if not found:
        return body
    hit = rng.choice(found)
    return body[: hit.start()] + new(hit[0]) + body[hit.end() :]


def _near(rng: random.Random, old: bytes) -> bytes:
    sound = len(old) < 30 and not old.lstrip(b"-").startswith(b"0")
    number: Any = json.loads(old) if sound else 0
    return str(number + rng.choice((-60_000, -1, 0.5, 1, 1000, 60_000, 2**31))).encode()


MUTATIONS = (_flip, _flip, _cut, _splice, _renumber, _renumber, _retoken, _swap, _restructure)

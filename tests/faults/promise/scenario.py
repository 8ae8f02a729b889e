"""What happens in one run of the property test, drawn from a seed: pure, printable, the same every time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from random import Random

from tests.faults.promise.points import AFTER, BEFORE, CRASH, END, INTERRUPT, KILL, POINTS, TERMINATE, Hit
from tests.faults.promise.replies import Fault, reply_fault, row_fault

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
EARLIEST_MS = int(datetime(2023, 1, 1, tzinfo=UTC).timestamp() * 1000)
NAMES = ("BTC-PERPETUAL", "ETH-PERPETUAL", "SOL_USDC-PERPETUAL")
LOADING = ("backfill", "update", "repair")
BUILD, DEV, UPKEEP = "build", "dev", "upkeep"
DBT = (BUILD, DEV, UPKEEP)
"""Of perps; by plain dbt for a second target in the same database; and what `perps run` does at its end."""
PLAIN = (BUILD, DEV)
"""What plain dbt may build beside another command, which takes no lock of perps."""

DELISTINGS, FOREIGN = 0.3, 0.3
"""How likely a scenario has a delisting, and a step other people's settings."""
MOST_PASSES: Mapping[str, int] = {
    "window": 6,
    "state": 1,
    "sweep": 1,
    "swept": 1,
    "hypertable": 1,
    "tables": 1,
    "copy": 6,
    "commit": 6,
    "job": 6,
    "statement": 150,
    "begin": 20,
    "mark": 12,
    "range": 12,
    "moved": 10,
    "keys": 10,
}
"""Up to which pass of a point something may happen; 2 where nothing else is said."""


@dataclass(frozen=True)
class Outside:
    """What is done to a command from the outside: `action` as in `points`, after some seconds."""

    action: str
    after_s: float

    def __str__(self) -> str:
        return f"{self.action} from outside after {self.after_s} s"


@dataclass(frozen=True)
class Step:
    """A disturbed command.

    Attributes:
        command: backfill, update, repair, build, dev or upkeep.
        wanted: of a backfill: minutes since the origin, end exclusive.
        faults: of the API while it runs, as the simulator's JSON.
        hit: what is done to it at a point, if anything.
        outside: what is done to it after a time, if anything.
        advance_ms: how far the exchange's clock moves before it.
        lost: whether the working folder is lost before it.
        at_once: whether the next command starts without a look at what this one left.
        beside: of which target plain dbt builds meanwhile, BUILD or DEV, if any.
        foreign: whether it runs among settings of dlt's and dbt's that were made for something else.
    """

    command: str
    wanted: tuple[int, int]
    faults: tuple[Fault, ...]
    hit: Hit | None
    outside: Outside | None
    advance_ms: int
    lost: bool
    at_once: bool
    beside: str | None = None
    foreign: bool = False


@dataclass(frozen=True)
class Scenario:
    """Everything that happens before the quiet run.

    Attributes:
        seed: of all the rest, and of the market.
        created_ms: per instrument its listing, UTC ms; one may be listed later than the first clock.
        clock_ms: the exchange's clock at the start, UTC ms.
        buckets: candles in a window.
        package: most candles in a load package.
        lookback: candles asked again by an update.
        market: outages, revisions and a delisting, which stay, as the simulator's JSON.
        steps: the disturbed commands.
        last_ms: how far the clock moves before the quiet run.
        audited: whether the quiet run ends with a full audit.
    """

    seed: int
    created_ms: dict[str, int]
    clock_ms: int
    buckets: int
    package: int
    lookback: int
    market: tuple[Fault, ...]
    steps: tuple[Step, ...]
    last_ms: int
    audited: bool

    @property
    def origin_ms(self) -> int:
        """The midnight of the first listing."""
        return min(self.created_ms.values()) // DAY_MS * DAY_MS

    @property
    def kinds(self) -> set[str]:
        """Which faults of the API there are."""
        return {fault["kind"] for step in self.steps for fault in step.faults}

    @property
    def delisted_ms(self) -> int | None:
        """When NAMES[1] leaves the listing, UTC ms."""
        return next((fault["at"] for fault in self.market if fault["kind"] == "delisted"), None)

    @property
    def listed_again(self) -> bool:
        """Whether it comes back."""
        return any(fault["kind"] == "relisted" for fault in self.market)

    @property
    def has_dev(self) -> bool:
        """Whether there is a second target."""
        return any(DEV in (step.command, step.beside) for step in self.steps)

    def __str__(self) -> str:
        return json.dumps(asdict(self), indent=1)


def draw(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    rng, of_rows = Random(seed), Random(f"rows of {seed}")
    origin = EARLIEST_MS + rng.randrange(900) * DAY_MS
    length = rng.choice((3, 8, 16, 30)) * HOUR_MS
    clock = origin + length + rng.randrange(MINUTE_MS)
    created = {
        NAMES[0]: origin + rng.randrange(MINUTE_MS),
        NAMES[1]: origin + rng.randrange(3 * HOUR_MS),
        NAMES[2]: origin + rng.randrange(length // 2, length + 3 * HOUR_MS),
    }
    buckets = rng.choice((150, 400, 1000, 5000))
    # half of them disturb a database that has been loaded and built, so that dbt is hit in increments
    calm = (_calm("update", length), _calm(BUILD, length)) if rng.random() < 0.5 else ()
    steps = (
        *calm,
        *(_step(rng, len(calm) + number, length, calm=bool(calm)) for number in range(rng.randint(2, 3))),
    )
    # drawn apart, so that a seed keeps what else happens
    steps = tuple(
        step
        if step.command in DBT
        else replace(step, faults=(*step.faults, *(row_fault(of_rows) for _ in range(of_rows.randint(0, 2)))))
        for step in steps
    )
    return Scenario(
        seed,
        created,
        clock,
        buckets,
        package=rng.choice((300, 600, 1500, 4000)),
        lookback=rng.choice((0, 3, 10)),
        market=_market(rng, created, origin, length, clock),
        steps=steps,
        last_ms=3 * HOUR_MS + rng.randrange(5 * HOUR_MS),
        audited=rng.random() < 0.25,
    )


def _market(
    rng: Random, created: Mapping[str, int], origin: int, length: int, clock: int
) -> tuple[Fault, ...]:
    faults: list[Fault] = []
    for _ in range(rng.randint(0, 2)):
        start = origin + rng.randrange(length) // MINUTE_MS * MINUTE_MS
        end = start + rng.randint(1, 90) * MINUTE_MS
        faults.append(
            {"kind": "outage", "start": start, "end": end, "instrument": rng.choice((None, *NAMES[:2]))}
        )
    for _ in range(rng.randint(0, 3)):
        name = rng.choice(NAMES[:2])
        listed = created[name] // MINUTE_MS * MINUTE_MS
        # half of them are young enough for the look-back of some update
        young = rng.random() < 0.5
        at = max(listed, clock // MINUTE_MS * MINUTE_MS - rng.randint(2, 12) * MINUTE_MS)
        if not young:
            at = listed + rng.randrange(max(1, clock - listed)) // MINUTE_MS * MINUTE_MS
        faults.append(
            {
                "kind": "revision",
                "instrument": name,
                "at": at,
                "since": clock + rng.randrange(4 * HOUR_MS),
                "values": {"volume": round(rng.uniform(1, 1000), 8)},
            }
        )
    return (*faults, *_delisting(rng, clock))


def _delisting(rng: Random, clock: int) -> list[Fault]:
    """Return that NAMES[1] leaves the listing, and comes back or does not, mostly neither."""
    if rng.random() >= DELISTINGS:
        return []
    # the simulator's minutes that divide by 64 always trade: this is the end of one
    at = ((clock + rng.randrange(4 * HOUR_MS)) // MINUTE_MS // 64 * 64 + 65) * MINUTE_MS
    gone = {"kind": "delisted", "instrument": NAMES[1], "at": at}
    back = {"kind": "relisted", "instrument": NAMES[1], "at": at + rng.randrange(30, 300) * MINUTE_MS}
    return [gone, back] if rng.random() < 0.4 else [gone]


def _calm(command: str, length: int) -> Step:
    wanted = (0, length // MINUTE_MS)
    return Step(command, wanted, (), None, None, advance_ms=0, lost=False, at_once=True)


def _step(rng: Random, number: int, length: int, *, calm: bool) -> Step:
    command = (
        rng.choice(("backfill", "update"))
        if number == 0
        else rng.choice(("backfill", "update", "update", "repair", BUILD, BUILD, BUILD, DEV, UPKEEP))
    )
    if command == "repair" and not calm:  # there is no list of gaps to repair yet
        command = "update"
    minutes = length // MINUTE_MS
    start = rng.choice((0, 0, rng.randrange(minutes)))
    hit, outside = _disturbance(rng, command)
    return Step(
        command,
        wanted=(start, rng.randint(start + 1, minutes + 300)),
        faults=() if command in DBT else tuple(reply_fault(rng) for _ in range(rng.randint(0, 3))),
        hit=hit,
        outside=outside,
        advance_ms=rng.choice((0, rng.randrange(20 * MINUTE_MS), rng.randrange(4 * HOUR_MS))),
        lost=rng.random() < 0.2,
        at_once=rng.random() < 0.25,
        beside=rng.choice(PLAIN) if command != UPKEEP and rng.random() < 0.25 else None,
        foreign=command != DEV and rng.random() < FOREIGN,
    )


def _disturbance(rng: Random, command: str) -> tuple[Hit | None, Outside | None]:
    chance = rng.random()
    if chance < 0.1:
        return None, None
    action = rng.choices((KILL, CRASH, TERMINATE, INTERRUPT, END), (7, 2, 1, 2, 2))[0]
    if command == DEV and action in (INTERRUPT, END):  # plain dbt's own business
        action = KILL
    if chance < 0.35:
        return None, Outside(action, round(rng.uniform(0.1, 2.0), 2))
    part = "dbt" if command in DBT else rng.choice([name for name in POINTS if name != "dbt"])
    point = "statement" if command == UPKEEP else rng.choice(list(POINTS[part]))
    passes = 4 if command == UPKEEP else MOST_PASSES.get(point, 2)
    return Hit(part, point, rng.choice((BEFORE, AFTER)), rng.randint(1, passes), action), None


def iso(at_ms: int) -> str:
    """Return UTC ms as people type it."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

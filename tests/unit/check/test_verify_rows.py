"""What counts as a difference between the tables of funding and settlements and Deribit."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest

from extract.check.differences import CHANGED, GONE, MISSING, UNUSABLE
from extract.check.rows import Row, compare, read_rows
from extract.core.resolution import DAY_MS, HOUR_MS
from extract.load.endpoint import FUNDING, SETTLEMENTS, Endpoint

AT = 1_704_096_000_000  # 2024-01-01 08:00


def row(endpoint: Endpoint, at_ms: float = AT, **values: float | None) -> Row:
    """Return a row whose values are all 0.25."""
    return {"timestamp": float(at_ms), **dict.fromkeys(endpoint.values, 0.25), **values}


def kinds(endpoint: Endpoint, stored: dict[int, Row], replied: dict[int, Row]) -> list[tuple[str, tuple]]:
    return [(found.kind, found.columns) for found in compare("X", endpoint, stored, replied)]


@pytest.mark.parametrize("endpoint", [FUNDING, SETTLEMENTS], ids=lambda found: found.table)
def test_equal_rows_do_not_differ_and_any_digit_does(endpoint):
    assert kinds(endpoint, {AT: row(endpoint)}, {AT: row(endpoint)}) == []
    for name in endpoint.values:
        changed = row(endpoint, **{name: math.nextafter(0.25, 1)})
        assert kinds(endpoint, {AT: row(endpoint)}, {AT: changed}) == [(CHANGED, (name,))]


def test_a_row_on_one_side_only_is_named():
    one, two = row(FUNDING), row(FUNDING, AT + HOUR_MS)
    assert kinds(FUNDING, {AT: one}, {AT + HOUR_MS: two}) == [(GONE, ()), (MISSING, ())]


def test_a_value_that_may_be_null_differs_from_a_number():
    null = row(FUNDING, prev_index_price=None)
    assert kinds(FUNDING, {AT: null}, {AT: null}) == []
    assert kinds(FUNDING, {AT: null}, {AT: row(FUNDING)}) == [(CHANGED, ("prev_index_price",))]


@pytest.mark.parametrize(
    ("endpoint", "values"),
    [
        (FUNDING, {"interest_1h": None}),
        (FUNDING, {"index_price": 0.0}),
        (FUNDING, {"interest_1h": -1.0}),
        (FUNDING, {"interest_8h": math.nan}),
        (FUNDING, {"timestamp": AT + 1.0}),
        (SETTLEMENTS, {"position": -1.0}),
        (SETTLEMENTS, {"position": None}),
        (SETTLEMENTS, {"mark_price": math.inf}),
    ],
)
def test_what_the_table_cannot_have_is_unusable(endpoint, values):
    assert kinds(endpoint, {}, {AT: row(endpoint) | values}) == [(UNUSABLE, tuple(values))]


def test_settlements_are_compared_by_their_day_with_their_stamps():
    table = pa.Table.from_pylist(
        [row(SETTLEMENTS, AT + DAY_MS + 3 * HOUR_MS) | {"timestamp": AT + DAY_MS + 3 * HOUR_MS}],
        schema=SETTLEMENTS.schema,
    )
    late = read_rows(table, SETTLEMENTS)
    assert list(late) == [AT + DAY_MS]
    in_time = {AT + DAY_MS: row(SETTLEMENTS, AT + DAY_MS + 65)}
    assert kinds(SETTLEMENTS, in_time, late) == [(CHANGED, ("timestamp",))]

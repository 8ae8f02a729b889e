"""When the funding of a month is what Deribit says it is."""

from __future__ import annotations

import pytest

from extract.check.funding_months import Month


def month(deribit: float, total: float = 1e-3, weighted: float = 1.01e-3) -> Month:
    return Month("X", "2024-01", 0, 0, 744, total, weighted, deribit)


@pytest.mark.parametrize("deribit", [1e-3, 1.0009e-3, 1.01e-3, 1.0109e-3])
def test_either_sum_may_be_deribits(deribit):
    assert month(deribit).is_equal


@pytest.mark.parametrize("deribit", [0.0, -1e-3, 1.005e-3, 1.02e-3, 0.998e-3])
def test_what_is_neither_sum_differs(deribit):
    assert not month(deribit).is_equal


def test_rates_next_to_nothing_are_equal():
    assert month(1e-9, total=-1e-9, weighted=-1e-9).is_equal
    assert not month(2e-8, total=0.0, weighted=0.0).is_equal


def test_a_month_says_both_sums():
    assert str(month(2e-3)) == (
        "X 2024-01: 1.000000e-03 in 744 hours of the table (weighted by the index 1.010000e-03), "
        "2.000000e-03 at deribit"
    )

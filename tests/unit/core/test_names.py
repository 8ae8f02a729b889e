"""A name that does not exist gets the ones that may be meant."""

from __future__ import annotations

import pytest

from extract.core.names import suggest, with_suggestions

KNOWN = (
    *("BTC-PERPETUAL", "BTC_USDC-PERPETUAL", "ETH-PERPETUAL", "ETH_USDC-PERPETUAL"),
    *("SOL_USDC-PERPETUAL", "1000SHIB_USDC-PERPETUAL"),
)


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("btc-perpetual", "BTC-PERPETUAL"),
        ("BTC", "BTC-PERPETUAL"),
        ("BTC-PERP", "BTC-PERPETUAL"),
        ("BTC/USD:BTC", "BTC-PERPETUAL"),
        ("BTC/USDC:USDC", "BTC_USDC-PERPETUAL"),
        ("btc_usdc", "BTC_USDC-PERPETUAL"),
        ("BTC-USD-SWAP", "BTC-PERPETUAL"),
        ("sol", "SOL_USDC-PERPETUAL"),
        ("SOL-PERPETUAL", "SOL_USDC-PERPETUAL"),
        ("BTCUSDC", "BTC_USDC-PERPETUAL"),
        ("BTX-PERPETUAL", "BTC-PERPETUAL"),
        ("SHIB_USDC-PERPETUAL", "1000SHIB_USDC-PERPETUAL"),
    ],
)
def test_the_likeliest_name_comes_first(typed, first):
    assert suggest(typed, KNOWN)[0] == first


@pytest.mark.parametrize("typed", ["", "PERPETUAL", "-", "ZZZZ-PERPETUAL", "'; drop table"])
def test_what_is_like_no_name_gets_no_suggestion(typed):
    assert suggest(typed, KNOWN) == []


def test_nothing_known_suggests_nothing():
    assert suggest("BTC", ()) == []


def test_a_message_names_what_may_be_meant():
    assert with_suggestions(["eth", "ZZZZ"], KNOWN) == "eth (ETH-PERPETUAL or ETH_USDC-PERPETUAL?), ZZZZ"

"""The public methods that have an instrument and a window."""

from __future__ import annotations

CHART = "get_tradingview_chart_data"
FUNDING = "get_funding_rate_history"
FUNDING_VALUE = "get_funding_rate_value"
SETTLEMENTS = "get_last_settlements_by_instrument"

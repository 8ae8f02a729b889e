"""Metrics of `perps run --every` for Prometheus: what the run has done, and how fresh the table is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg2
from prometheus_client import CollectorRegistry, Counter, Gauge, Summary, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from extract.core.names import ENDPOINTS
from extract.database.database import Database
from extract.deribit.budget import TokenBucket
from extract.errors import PerpsError, UsageError
from extract.load.result import LoadResult
from extract.transform.freshness import read_freshness

LOOPBACK = "127.0.0.1"


class Metrics:
    """The counts of a run, in a registry that also reads the table at each scrape.

    Args:
        budget: counts the requests.
        database: where the table is.
    """

    def __init__(self, budget: TokenBucket, database: Database) -> None:
        own = self.registry = CollectorRegistry()
        self._seconds = Summary("perps_step_seconds", "Seconds that a step took.", ["step"], registry=own)
        self._failures = Counter("perps_step_failures", "Failures of a step.", ["step"], registry=own)
        self._succeeded = Gauge(
            "perps_step_succeeded_timestamp_seconds", "When a step last succeeded.", ["step"], registry=own
        )
        self._rows = Counter(
            "perps_rows_landed", "Rows that were new or had changed.", ["endpoint"], registry=own
        )
        own.register(_Requests(budget))
        own.register(_Table(database))

    def ended(self, step: str, seconds: float, failure: PerpsError | None) -> None:
        """Count a step that took so long, and whether it failed."""
        self._seconds.labels(step).observe(seconds)
        self._failures.labels(step).inc(failure is not None)
        if failure is None:
            self._succeeded.labels(step).set_to_current_time()

    def landed(self, result: LoadResult | None) -> None:
        """Count the rows of a load."""
        for endpoint in ENDPOINTS:
            self._rows.labels(endpoint).inc(sum(result.of(endpoint).values()) if result else 0)


class _Requests(Collector):
    def __init__(self, budget: TokenBucket) -> None:
        self._budget = budget

    def collect(self) -> Iterator[Metric]:
        budget = self._budget
        yield CounterMetricFamily("perps_requests", "Requests to Deribit.", budget.sent)
        yield CounterMetricFamily(
            "perps_requests_refused", "Requests that Deribit refused for their rate.", budget.refused
        )


class _Table(Collector):
    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[Metric]:
        closes = GaugeMetricFamily(
            "perps_newest_candle_timestamp_seconds",
            "When the newest candle of an instrument in perpetuals_ohlcv closed.",
            labels=["instrument"],
        )
        up = GaugeMetricFamily("perps_table_readable", "Whether the table could be read.", 1)
        try:
            for name, close_ms in read_freshness(self._database).closes.items():
                closes.add_metric([name], close_ms / 1000)
        except (PerpsError, psycopg2.Error):
            up = GaugeMetricFamily("perps_table_readable", "Whether the table could be read.", 0)
        yield closes
        yield up

    def describe(self) -> Iterator[Metric]:
        """Return no names, so that registering does not read the table."""
        return iter(())


def serve(metrics: Metrics, address: str) -> Callable[[], None]:
    """Serve metrics over HTTP at `/metrics`, in a thread; return what ends it.

    Args:
        metrics: what to serve.
        address: `[ADDRESS:]PORT`; without an address only this machine can reach it.

    Raises:
        UsageError: nothing can be served there.
    """
    host, _, port = address.rpartition(":")
    try:
        server, _thread = start_http_server(int(port), host.strip("[]") or LOOPBACK, metrics.registry)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"expected a free [ADDRESS:]PORT in --metrics, got {address!r}: {error}") from None
    return server.shutdown

"""The producer's /metrics: plain counters of the intake, read when Prometheus asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from producer.intake import Intake

HOST: Final = "127.0.0.1"


class ProducerCollector(Collector):
    """Turns the counters of an intake and some figures of the edges into metrics, a scrape at a time.

    Args:
        intake: Whose counters.
        gauges: Value by metric name (without prefix), read at each scrape.
    """

    def __init__(self, intake: Intake, gauges: dict[str, Callable[[], float]]) -> None:
        self._intake, self._gauges = intake, gauges

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield self._events()
        rejects = CounterMetricFamily("tickhouse_producer_rejects", "Dead letters.", labels=["market", "reason"])
        for reason, count in list(self._intake.rejects.items()):
            rejects.add_metric([self._intake.market, reason], count)
        yield rejects
        for name, read in self._gauges.items():
            yield GaugeMetricFamily(f"tickhouse_producer_{name}", name.replace("_", " "), value=read())

    def _events(self) -> Metric:
        family = CounterMetricFamily(
            "tickhouse_producer_events", "Events by what became of them.", labels=["market", "stream", "outcome"]
        )
        sums: dict[tuple[str, str], int] = {}
        # Copies: the event loop goes on adding streams while this thread reads.
        for ledger in list(self._intake.ledgers.values()):
            counts = dict(ledger.counts)
            counts["delivered"] += ledger.number
            counts["received"] += ledger.number + ledger.sampled_out
            counts["sampled_out"] += ledger.sampled_out
            for outcome, count in counts.items():
                sums[ledger.stream, outcome] = sums.get((ledger.stream, outcome), 0) + count
        for (stream, outcome), count in sums.items():
            family.add_metric([self._intake.market, stream, outcome], count)
        return family


def serve_metrics(collector: Collector, port: int) -> Callable[[], None]:
    """Serve one collector on loopback and return what stops that."""
    registry = CollectorRegistry()
    registry.register(collector)
    server, thread = start_http_server(port, addr=HOST, registry=registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop

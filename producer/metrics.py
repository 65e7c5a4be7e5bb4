"""The producer's /metrics: the counters of the intake, read at each scrape of Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from producer.writer.intake import Intake

HOST: Final = "127.0.0.1"


class LabelledGauge(NamedTuple):
    """A gauge with labels. Its name has no prefix; `read` returns its value by label values."""

    name: str
    text: str
    labels: tuple[str, ...]
    read: Callable[[], Mapping[tuple[str, ...], float]]


class ProducerCollector(Collector):
    """Makes the metrics of one scrape from the counters of an intake and from gauges.

    Args:
        intake: The intake whose counters are exported.
        gauges: Functions by metric name (without prefix), called at each scrape.
        labelled: The gauges with labels.
    """

    def __init__(
        self, intake: Intake, gauges: Mapping[str, Callable[[], float]], labelled: list[LabelledGauge] | None = None
    ) -> None:
        self._intake, self._gauges, self._labelled = intake, gauges, labelled or []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield self._events()
        rejects = CounterMetricFamily("tickhouse_producer_rejects", "Dead letters.", labels=["market", "reason"])
        for reason, count in list(self._intake.rejects.items()):
            rejects.add_metric([self._intake.market, reason], count)
        yield rejects
        for name, read in self._gauges.items():
            yield GaugeMetricFamily(f"tickhouse_producer_{name}", name.replace("_", " "), value=read())
        for gauge in self._labelled:
            family = GaugeMetricFamily(f"tickhouse_producer_{gauge.name}", gauge.text, labels=gauge.labels)
            for values, figure in gauge.read().items():
                family.add_metric(list(values), figure)
            yield family

    def _events(self) -> Metric:
        family = CounterMetricFamily(
            "tickhouse_producer_events", "Events by outcome.", labels=["market", "stream", "outcome"]
        )
        sums: dict[tuple[str, str], int] = {}
        # A copy: the event loop adds streams while this thread reads.
        for ledger in list(self._intake.ledgers.values()):
            counts = dict(ledger.counts)
            counts["delivered"] += ledger.run_count
            counts["received"] += ledger.run_count + ledger.sampled_out_count
            counts["sampled_out"] += ledger.sampled_out_count
            for outcome, count in counts.items():
                sums[ledger.stream, outcome] = sums.get((ledger.stream, outcome), 0) + count
        for (stream, outcome), count in sums.items():
            family.add_metric([self._intake.market, stream, outcome], count)
        return family


def serve_metrics(collector: Collector, port: int, host: str = HOST) -> Callable[[], None]:
    """Serve one collector, and return the function that stops the server."""
    registry = CollectorRegistry()
    registry.register(collector)
    server, thread = start_http_server(port, addr=host, registry=registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop

"""What a scrape shows: counts and times, never content."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The figures of one service; one registry each, so that tests may make many services in one process."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "nemo_requests_total",
            "Answered requests.",
            ["service", "method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "nemo_request_seconds",
            "Time to the end of the answer.",
            ["service", "method", "route"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._service = service
        self._more: dict[str, Counter | Histogram] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        self.requests.labels(self._service, method, route, str(status)).inc()
        self.seconds.labels(self._service, method, route).observe(seconds)

    def count(self, name: str, about: str, by: float = 1.0, /, **labels: str) -> None:
        """A counter of the service's own; made when it first counts."""
        if name not in self._more:
            self._more[name] = Counter(name, about, list(labels), registry=self.registry)
        self._more[name].labels(**labels).inc(by)  # type: ignore[union-attr]

    def took(self, name: str, about: str, seconds: float, /, **labels: str) -> None:
        """A histogram of the service's own, in seconds."""
        if name not in self._more:
            self._more[name] = Histogram(name, about, list(labels), buckets=BUCKETS_S, registry=self.registry)
        self._more[name].labels(**labels).observe(seconds)  # type: ignore[union-attr]

    def render(self) -> bytes:
        return generate_latest(self.registry)

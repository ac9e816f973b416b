"""What a scrape shows: counts and times, never content. `figures` says which there are."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from shared.figures import CATALOGUE, Figure, of_service

log = logging.getLogger(__name__)
disable_created_metrics()  # type: ignore[no-untyped-call]
Look = Callable[["Metrics"], Awaitable[None]]
"""Sets the gauges of something that has to be asked, such as a database."""
LOOK_S = 2.0
OTHER = "other"
"""Stands for a label's value that the catalogue does not know, so that labels stay bounded."""


@dataclass
class _Watched:
    part: str
    look: Look
    every_s: float
    due: float = 0.0


class Metrics:
    """The figures of one service; one registry each, so that tests may make many services in one process.

    All are there from the start, at zero, as far as the values of their labels are known.
    """

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._service = service
        self._made: dict[str, Counter | Gauge | Histogram] = {}
        self._watched: list[_Watched] = []
        for figure in of_service(service):
            self._begin(figure)

    def _begin(self, figure: Figure) -> None:
        made = self._make(figure)
        if figure.labels and all(figure.labels.values()):
            for values in product(*figure.labels.values()):
                made.labels(*values)

    def _make(self, figure: Figure) -> Counter | Gauge | Histogram:
        labels = list(figure.labels)
        made: Counter | Gauge | Histogram
        if figure.kind == "histogram":
            made = Histogram(figure.name, figure.about, labels, buckets=figure.buckets, registry=self.registry)
        elif figure.kind == "gauge":
            made = Gauge(figure.name, figure.about, labels, registry=self.registry)
        else:
            made = Counter(figure.name, figure.about, labels, registry=self.registry)
        self._made[figure.name] = made
        return made

    def _series(self, name: str, labels: dict[str, str]) -> Counter | Gauge | Histogram:
        """Raises KeyError for a name that the catalogue does not have: a mistake of ours, found by any test."""
        figure = CATALOGUE[name]
        made = self._made.get(name) or self._make(figure)
        if not figure.labels:
            return made
        allowed = {key: labels[key] if labels[key] in known or not known else OTHER
                   for key, known in figure.labels.items()}  # fmt: skip
        return made.labels(**allowed)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        self.count("nemo_requests_total", service=self._service, method=method, route=route, status=str(status))
        self.took("nemo_request_seconds", seconds, service=self._service, method=method, route=route)

    def count(self, name: str, by: float = 1.0, /, **labels: str) -> None:
        self._series(name, labels).inc(by)  # type: ignore[union-attr]

    def took(self, name: str, value: float, /, **labels: str) -> None:
        """One observation of a histogram, in the unit of its name."""
        self._series(name, labels).observe(value)  # type: ignore[union-attr]

    def set(self, name: str, value: float, /, **labels: str) -> None:
        self._series(name, labels).set(value)  # type: ignore[union-attr]

    def ask(self, name: str, value: Callable[[], float]) -> None:
        """A gauge without labels that is read when somebody scrapes; `value` must be quick."""
        self._series(name, {}).set_function(value)  # type: ignore[union-attr]

    def expect(self, name: str, label: str, *values: str) -> None:
        """Series that shall be there, at zero, before anything was counted."""
        for value in values:
            self._series(name, {label: value})

    def expect_all(self, name: str, /, **labels: str) -> None:
        """One series of several labels, likewise."""
        self._series(name, labels)

    @contextmanager
    def timed(self, name: str, /, **labels: str) -> Iterator[None]:
        """However the block ends."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.took(name, time.perf_counter() - began, **labels)

    @contextmanager
    def during(self, name: str) -> Iterator[None]:
        """One more inside the block."""
        gauge = self._series(name, {})
        gauge.inc()  # type: ignore[union-attr]
        try:
            yield
        finally:
            gauge.dec()  # type: ignore[union-attr]

    def watch(self, part: str, look: Look, *, every_s: float = 0.0) -> None:
        """`look` is called for a scrape, at most once in `every_s` seconds."""
        self._watched.append(_Watched(part, look, every_s))
        self.expect("nemo_scrape_failures_total", "part", part)

    async def read(self) -> bytes:
        """The scrape: Prometheus' text format. What cannot be asked just now keeps its last value and is counted."""
        now = time.monotonic()
        due = [each for each in self._watched if now >= each.due]
        for each in due:
            each.due = now + each.every_s
        await asyncio.gather(*(self._asked(each) for each in due))
        return generate_latest(self.registry)  # here, not in a thread: gauges are read from the loop's own objects

    async def _asked(self, watched: _Watched) -> None:
        try:
            await asyncio.wait_for(watched.look(self), LOOK_S)
        except Exception as error:  # a scrape shows what can be had, whatever went wrong with the rest
            log.warning("a figure could not be read", extra={"part": watched.part, "kind": type(error).__name__})
            self.count("nemo_scrape_failures_total", part=watched.part)


_NOBODYS = Metrics("-")
_here: contextvars.ContextVar[Metrics] = contextvars.ContextVar("metrics", default=_NOBODYS)


def here() -> Metrics:
    """Those of the service whose request or background work this is; threads of a pool do not know it."""
    return _here.get()


def enter(metrics: Metrics) -> contextvars.Token[Metrics]:
    """From here on, and in what is started from here."""
    return _here.set(metrics)


def leave(token: contextvars.Token[Metrics]) -> None:
    _here.reset(token)

"""Spans of what happens for one request, through every service, by OpenTelemetry; nothing at all where it is off.

On with an address of a collector and the extra `traces` installed. A span holds names of routes, tasks and stages and
numbers: no ids of users, nothing that anybody wrote. What crosses between processes is W3C's `traceparent`
(https://www.w3.org/TR/trace-context/), in the header of a call and in the payload of a durable task.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

log = logging.getLogger(__name__)
Kind = Literal["internal", "server", "client", "consumer"]
Value = str | int | float | bool
STOP_MS = 3000
"""How long an ending service waits for its last spans to be taken."""
_PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_tracer: Any = None


class Span:
    """One piece of work; this one is the span of nothing."""

    def name(self, name: str) -> None:
        """Another name, for what is known later."""

    def note(self, **values: Value) -> None:
        """Attributes; `__` in a name stands for a dot."""

    def failed(self) -> None: ...
    def end(self) -> None: ...

    @property
    def traceparent(self) -> str | None:
        return None


class _Recorded(Span):
    def __init__(self, span: Any) -> None:
        self.span = span

    def name(self, name: str) -> None:
        self.span.update_name(name)

    def note(self, **values: Value) -> None:
        for key, value in values.items():
            self.span.set_attribute(key.replace("__", "."), value)

    def failed(self) -> None:
        from opentelemetry.trace import StatusCode

        self.span.set_status(StatusCode.ERROR)

    def end(self) -> None:
        self.span.end()

    @property
    def traceparent(self) -> str | None:
        return _said(self.span.get_span_context())


def start(service: str, version: str, endpoint: str | None, share: float) -> Callable[[], None]:
    """Spans go to `endpoint` (OTLP over HTTP, its base URL) from now on; the answer ends that, blocking for a moment.

    `share`: of the requests that begin here, from 0 to 1; a call by another service is as that one decided.
    """
    global _tracer
    if not endpoint:
        return lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError:
        log.warning("no traces: install the extra `traces` (pip install 'nemo-server[traces]')")
        return lambda: None
    resource = Resource({"service.name": f"nemo-{service}", "service.version": version})
    provider = TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(share)), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=STOP_MS / 1000)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    mine = _tracer = provider.get_tracer("nemo")

    def stop() -> None:
        global _tracer
        if _tracer is mine:
            _tracer = None
        provider.force_flush(STOP_MS)
        provider.shutdown()

    return stop


def begun(name: str, kind: Kind = "internal", **values: Value) -> Span:
    """A span below the current one that the caller ends; for what is left in another task than it was begun in.

    What goes round by itself, such as heartbeats, has none above it and is not recorded.
    """
    if current() is None:
        return Span()
    return _recorded(name, kind, None, values)


@contextmanager
def span(name: str, kind: Kind = "internal", *, parent: str | None = None, **values: Value) -> Iterator[Span]:
    """A span that is the current one inside. `parent`: a `traceparent` from elsewhere; without, the current span."""
    if _tracer is None:
        yield Span()
        return
    from opentelemetry import trace

    made = _recorded(name, kind, parent, values)
    with trace.use_span(made.span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield made
        except Exception:  # its words may quote a user, so only that it failed is told
            made.failed()
            raise


def current() -> str | None:
    """`traceparent` of the current span; None where there is none."""
    if _tracer is None:
        return None
    from opentelemetry import trace

    return _said(trace.get_current_span().get_span_context())


def _recorded(name: str, kind: Kind, parent: str | None, values: dict[str, Value]) -> _Recorded:
    from opentelemetry.trace import SpanKind

    made = _Recorded(_tracer.start_span(name, context=_context(parent), kind=SpanKind[kind.upper()]))
    made.note(**values)
    return made


def _context(parent: str | None) -> Any:
    """None, which stands for the current one, where the parent is not one."""
    found = _PARENT.fullmatch(parent or "")
    if found is None or not int(found[1], 16) or not int(found[2], 16):
        return None
    from opentelemetry import trace

    above = trace.SpanContext(
        int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=trace.TraceFlags(int(found[3], 16))
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(above))


def _said(context: Any) -> str | None:
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

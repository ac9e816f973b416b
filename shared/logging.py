"""One JSON object a line. User text never enters a message: a fixed sentence, and ids in `extra`."""

from __future__ import annotations

import contextvars
import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class JsonLines(logging.Formatter):
    """Time, level, service, request id, sentence and the fields of `extra`."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "request_id": request_id.get(),
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = _traceback_without_values(record)
        return json.dumps(line, default=str, ensure_ascii=True)


def _traceback_without_values(record: logging.LogRecord) -> list[str]:
    """File, line and class only: messages of foreign exceptions may quote what a user wrote."""
    kind, _, trace = record.exc_info or (None, None, None)
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return [getattr(kind, "__name__", str(kind)), *places]


class PlainLines(logging.Formatter):
    """The same for a reader: time, level, service, request id, sentence, fields."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._lines = JsonLines(service)

    def format(self, record: logging.LogRecord) -> str:
        line = json.loads(self._lines.format(record))
        time, level, service = line.pop("time"), line.pop("level"), line.pop("service")
        line.pop("logger")
        said, asked = line.pop("message"), line.pop("request_id")
        more = " ".join(f"{name}={json.dumps(value)}" for name, value in line.items())
        return f"{time} {level:7} {service} [{asked}] {said} {more}".rstrip()


def configure(service: str, level: str, form: str = "json") -> None:
    """Send everything to standard error, a line each; uvicorn's own access log is off (we write ours)."""
    # Our lines name neither place nor thread, so nobody needs to look for them (Python's logging HOWTO, Optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(service) if form == "json" else PlainLines(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name != "uvicorn.access"
    logging.getLogger("httpx").setLevel("WARNING")

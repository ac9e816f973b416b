"""Answers in the making, which outlive the clients that asked."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shared.auth.principal import Principal
from shared.errors import ProductError
from shared.lifecycle import News
from shared.schemas.gemma import ChatRequest, ChatResponse, ContextUse, Timings, Usage
from shared.schemas.ids import new_id
from shared.schemas.rag import Citation, Evidence, Message, SearchHit

KEPT = 1000
"""Most answers whose events are kept; the oldest finished ones go first."""


@dataclass
class Draft:
    """What the answer holds so far."""

    text: str = ""
    model: str = "extractive"
    notice: str | None = None
    citations: list[Citation] = field(default_factory=list)
    hits: list[SearchHit] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    context: ContextUse | None = None
    words_at: int | None = None
    """Where the model's own words begin, in characters; None while there are none."""
    turns_left_out: int = 0
    """Earlier turns that were too many to be looked at."""
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)

    @property
    def is_answered(self) -> bool:
        """Something is quoted as an answer, not only as what is nearest."""
        return any(not each.related for each in self.citations)


@dataclass
class Run:
    """One answer in the making; its events can be read by any number of readers, from any point."""

    user: Principal
    message_id: str
    conversation_id: str
    request: ChatRequest
    began: float = field(default_factory=time.monotonic)
    draft: Draft = field(default_factory=Draft)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    news: News = field(default_factory=News)
    cancelled: bool = False
    done: bool = False
    response: ChatResponse | None = None
    error: ProductError | None = None

    def say(self, event: str, data: dict[str, Any]) -> None:
        self.events.append((event, data))
        self.news.tell()

    def tell(self, text: str) -> None:
        """More of the answer."""
        if self.draft.timings.first_token_s is None:
            self.draft.timings.first_token_s = self.elapsed_s()
        self.draft.text += text
        self.say("token", {"text": text})

    def elapsed_s(self) -> float:
        return round(time.monotonic() - self.began, 4)

    def finish(self) -> None:
        self.done = True
        self.news.tell()

    def fail(self, error: ProductError) -> None:
        self.error = error
        self.say("error", {"code": error.code, "title": error.title(), "detail": error.detail})

    async def read(self, after: int = 0) -> AsyncIterator[tuple[int, str, dict[str, Any]]]:
        """(number, event, data) from the one after `after`, until the answer ends."""
        at = after
        while True:
            while at < len(self.events):
                at += 1
                yield at, *self.events[at - 1]
            if self.done:
                return
            await self.news.heard()


class Runs:
    """By the id of their message."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}

    def add(self, run: Run) -> None:
        self._runs[run.message_id] = run
        surplus = len(self._runs) - KEPT
        for old in [each for each in self._runs.values() if each.done][: max(0, surplus)]:
            self.drop(old)

    def drop(self, run: Run) -> None:
        self._runs.pop(run.message_id, None)

    def of(self, user: Principal, message_id: str) -> Run | None:
        run = self._runs.get(message_id)
        return run if run is not None and run.user.user_id == user.user_id else None

    def unfinished(self) -> list[Run]:
        return [run for run in self._runs.values() if not run.done]


def server_sent(number: int, event: str, data: dict[str, Any]) -> bytes:
    return f"id: {number}\nevent: {event}\ndata: {json.dumps(data)}\n\n".encode()


def message_of(role: str, content: str, message_id: str | None = None, **more: Any) -> Message:
    """A turn of a conversation, said now."""
    values = {"message_id": message_id or new_id("msg"), "role": role, "content": content}
    return Message.model_validate(values | {"created_at": datetime.now(UTC)} | more)

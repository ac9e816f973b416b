"""What a caller hears of a call that is safe on disk, whatever happens while it waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.transcription.routes.calls import router
from services.transcription.settings import Settings
from shared.auth.service_tokens import trust_for_tests
from shared.errors import NotFound, ProductError, StorageFailed, UpstreamUnavailable
from shared.schemas.transcription import Metadata, Transcript, UploadAccepted
from shared.service import create_service

USER = "usr_01J00000000000000000000000"
SESSION = "rec_01J00000000000000000000000"


class Told:
    """Takes every call; waiting for it ends as it was told to."""

    def __init__(self) -> None:
        self.end: Exception | Transcript = NotFound()
        self.wait_s = 0.0

    async def receive(self, *_: Any) -> UploadAccepted:
        return UploadAccepted(transcript_id=SESSION, job_id="job_1", status="queued")

    async def wait(self, user: Any, session_id: str, wait_s: float) -> Transcript:
        self.wait_s = wait_s
        if isinstance(self.end, Exception):
            raise self.end
        return self.end


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def service(told: Told) -> AsyncIterator[httpx.AsyncClient]:
    app: FastAPI = create_service("transcription", Settings(), routers=[router])
    app.state.calls = told
    headers = trust_for_tests(app)(user_id=USER) | {"Content-Type": "multipart/form-data; boundary=x"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://nemo.test", headers=headers) as client:
        yield client


@pytest.mark.parametrize("outage", [UpstreamUnavailable(), StorageFailed()])
async def test_an_outage_while_waiting_does_not_lose_the_id(
    service: httpx.AsyncClient, told: Told, outage: ProductError
) -> None:
    told.end = outage
    answer = await service.post("/api/v1/transcribe")
    assert answer.status_code == 202 and answer.json() == {"session_id": SESSION, "status": "queued"}
    assert answer.headers["location"] == f"/api/v1/transcribe/{SESSION}" and told.wait_s == 60


async def test_a_call_that_was_deleted_meanwhile_is_gone(service: httpx.AsyncClient) -> None:
    assert (await service.post("/api/v1/transcribe")).status_code == 404


async def test_a_failure_without_words_has_some(service: httpx.AsyncClient, told: Told) -> None:
    told.end = Transcript(
        transcript_id=SESSION,
        job_id="job_1",
        title="A",
        status="failed",
        created_at=datetime.now(UTC),
        duration_s=0.0,
        channels=2,
        segments=[],
        speakers=[],
        metadata=Metadata(),
        revision=1,
    )
    answer = await service.post("/api/v1/transcribe")
    assert answer.status_code == 422 and "None" not in answer.text and SESSION in answer.json()["detail"]

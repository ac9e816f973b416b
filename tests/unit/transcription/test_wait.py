"""Waiting for an upload whose row ends a moment before its task does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from services.transcription.repository import Recording
from services.transcription.service import Studio
from services.transcription.settings import Settings
from shared.auth.principal import Principal
from shared.schemas.coordinator import Job, Progress


class Rows:
    """A recording that the pipeline has just marked as failed."""

    row = Recording(
        recording_id="rec_1",
        owner="usr_1",
        job_id="job_1",
        status="failed",
        error="The file holds no sound.",
        error_code="audio_unreadable",
        options={"title": "A"},
        duration_s=0.0,
        channels=1,
        size_bytes=1,
        created_at=datetime.now(UTC),
    )

    async def status(self, recording_id: str, owner: str) -> str:
        return self.row.status

    async def get(self, recording_id: str, owner: str) -> Recording:
        return self.row

    async def parts(self, recording: Recording, stage: str) -> dict[int, Any]:
        return {}


class SlowQueue:
    """The end of the task is heard at the third look."""

    looks = 0

    async def job(self, user: Principal, job_id: str) -> Job:
        self.looks += 1
        state = "running" if self.looks < 3 else "failed"
        return Job(
            job_id=job_id, kind="transcribe", state=state, progress=Progress(), attempt=1, created_at=datetime.now(UTC)
        )


async def test_it_waits_until_both_have_ended() -> None:
    queue: Any = SlowQueue()
    rows: Any = Rows()
    nothing: Any = None
    studio = Studio(Settings(), rows, nothing, nothing, queue, nothing, nothing, nothing)
    found = await studio.wait(Principal("usr_1"), "rec_1", 10)
    assert (found.status, found.error_code, queue.looks) == ("failed", "audio_unreadable", 3)

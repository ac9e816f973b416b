"""Durable tasks, jobs and devices."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from shared.schemas.wire import Request, Wire

TaskState = Literal["queued", "running", "preempting", "succeeded", "failed", "dead", "cancelled"]
TaskClass = Literal["interactive", "background"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
OwnerId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Token = Annotated[int, Field(ge=0, le=2**63 - 1)]
SMALL_BYTES = 256 * 1024
ERROR_LENGTH = 2000


def _storable(value: dict[str, Any] | None) -> dict[str, Any] | None:
    """The queue holds ids and figures; whatever is bigger has a store of its own."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, RecursionError) as error:
        raise ValueError("not plain JSON") from error
    if "\\u0000" in text:
        raise ValueError("text with a NUL character cannot be stored")
    if len(text) > SMALL_BYTES:
        raise ValueError(f"larger than {SMALL_BYTES} bytes")
    return value


def _readable(error: Any) -> Any:
    """A reason must never be what stops a task from ending, so it is cut rather than refused."""
    return error.replace("\0", "")[:ERROR_LENGTH] if isinstance(error, str) else error


SmallJson = Annotated[dict[str, Any], AfterValidator(_storable)]
Reason = Annotated[str, BeforeValidator(_readable)]


class Progress(Wire):
    """How far a job is. Never holds user text."""

    stage: str = "queued"
    percent: float = 0.0
    """0 to 100 over the whole job."""
    eta_s: float | None = None


class SubmitTask(Request):
    kind: Name
    payload: SmallJson = Field(default_factory=dict)
    """Ids only: user text never enters the queue."""
    owner: OwnerId | None = None
    """The user whom the work is for; None for work of the house."""
    task_class: TaskClass = "background"
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    idempotency_key: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")] | None = None
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 5


class Task(Wire):
    """One piece of durable work as its worker sees it."""

    task_id: str
    kind: str
    owner: str | None
    task_class: TaskClass
    priority: int
    state: TaskState
    payload: dict[str, Any]
    cursor: dict[str, Any] | None = None
    """Where an interrupted worker goes on."""
    token: int
    """Fencing token: a write with an older one changes nothing."""
    lease_s: float = 30.0
    """Seconds for which a claim or a report keeps the task for its worker."""
    worker: str | None = None
    attempt: int
    progress: Progress = Field(default_factory=Progress)
    result: dict[str, Any] | None = None
    error: str | None = None
    cancel_requested: bool = False
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None


class HolderGrant(Request):
    """What a worker computes by: its model is in memory, by this command, in this process."""

    holder_id: Name
    device_id: Annotated[str, StringConstraints(max_length=128, pattern=r"^[^\x00]*$")]
    instance: Annotated[str, StringConstraints(max_length=64, pattern=r"^[^\x00]*$")]
    epoch: Annotated[int, Field(ge=0, le=2**62)]


class ClaimTask(Request):
    kinds: Annotated[list[Name], Field(min_length=1, max_length=20)]
    worker: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
    wait_s: Annotated[float, Field(ge=0, le=30)] = 10.0
    holder: HolderGrant | None = None
    """Given: only while this holder has its model in memory and its turn."""


class ReportTask(Request):
    """Renews the lease of a running task and says how far it is."""

    token: Token
    progress: Progress | None = None
    cursor: SmallJson | None = None


class FinishTask(Request):
    token: Token
    outcome: Literal["succeeded", "failed", "released", "cancelled"]
    """`released` gives the task back without charging an attempt."""
    after_s: Annotated[float, Field(ge=0, le=3600)] = 0
    """For `released`: how long nobody claims it, unless its owner's tasks are woken."""
    result: SmallJson | None = None
    error: Reason | None = None
    retry: bool = True
    """For `failed`: False when another attempt cannot help."""


class Job(Wire):
    """A task as its owner sees it."""

    job_id: str
    kind: str
    state: TaskState
    progress: Progress
    result: dict[str, Any] | None = None
    error: str | None = None
    attempt: int
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None

"""Devices, and who holds their memory."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from shared.schemas.coordinator import Name, TaskClass
from shared.schemas.wire import Request, Wire

DeviceKind = Literal["cpu", "cuda", "fake"]
Desired = Literal["parked", "resident"]
Observed = Literal["parked", "waking", "resident", "draining", "parking", "unknown", "fencing", "quarantined"]
Phase = Literal["parked", "waking", "resident", "draining", "parking"]
"""What a holder may say of itself; the other states are the coordinator's to find."""
Bytes = Annotated[int, Field(ge=0, le=2**50)]
DeviceId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}$")]
Instance = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class RegisterHolder(Request):
    """A supervisor that starts anew: whatever its predecessor was told is no longer meant for it."""

    instance: Instance
    device_id: DeviceId | None = None
    """None: the coordinator's device of that kind."""
    device_kind: DeviceKind = "cpu"
    kinds: Annotated[list[Name], Field(max_length=20)] = Field(default_factory=list)
    """Tasks of the queue that need this holder's model."""
    bytes_resident: Annotated[int, Field(gt=0, le=2**50)]
    """Memory that the model takes while it is awake, as far as is known; what is measured counts from then on."""
    bytes_parked: Bytes = 0
    """What stays taken while it is parked, such as a CUDA context."""


class SyncHolder(Request):
    """What a holder is, said again and again: it renews the lease, and the answer is the row to obey."""

    instance: Instance
    epoch: Annotated[int, Field(ge=0, le=2**62)]
    """The last command that was read."""
    received: Annotated[int, Field(ge=0, le=2**62)] = 0
    """The newest command that was heard of over Redis and is about to be read."""
    phase: Phase
    used_bytes: Bytes = 0
    wants: TaskClass | None = None
    """What waits for the model or is using it, besides tasks of the queue."""
    idle: bool = False
    """Nothing was asked of it for so long that the memory may go to anybody."""
    error: Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z_]*$")] | None = None
    """Why the last command failed: `out_of_memory`, `lost` (the process ended), `failed`; `left`: the service ends."""


class Holder(Wire):
    """The row: what is wanted of a holder, what it was last seen to be, and what it may use."""

    holder_id: str
    device_id: str
    instance: str | None
    """None: nobody answers for it."""
    kinds: list[str] = Field(default_factory=list)
    bytes_resident: int
    bytes_parked: int
    used_bytes: int = 0
    desired: Desired = "parked"
    observed: Observed = "parked"
    turn: bool = False
    """Background work may compute; interactive work needs the memory only."""
    epoch: int = 0
    """Number of the last command; it only rises."""
    acked_epoch: int = 0
    done_epoch: int = 0
    lease_s: float = 15.0
    """Seconds without a word after which it counts as lost; it must have let go of the memory by then."""
    deadline_ms: int | None = None
    """Time left for the command; what is not done by then is killed."""
    wants: TaskClass | None = None
    why: str | None = None
    """The reason of its state, for a reader."""
    failures: int = 0
    fits: bool = True
    """False: the device could not hold it even alone."""
    wake_ms: float | None = None
    """How long waking took of late (the slowest of the last ones)."""


class DeviceStatus(Wire):
    device_id: str
    kind: DeviceKind
    memory_total_bytes: int
    memory_free_bytes: int
    reserve_bytes: int = 0
    """Left alone, for what is not ours."""
    reserved_bytes: int = 0
    """What the holders may take: the ledger."""
    leader: str | None = None
    alarm: str | None = None
    """What an operator should look at."""
    seen_at: datetime | None = None


class Swap(Wire):
    """One command and how long each step took."""

    at: datetime
    device_id: str
    holder_id: str
    epoch: int
    what: Literal["wake", "park", "turn", "fence"]
    why: str
    received_ms: float | None = None
    done_ms: float | None = None
    free_ms: float | None = None
    """Until the memory was seen to be free, or the weights to be there."""
    bytes: int = 0
    outcome: str | None = None


class GpuStatus(Wire):
    devices: list[DeviceStatus]
    holders: list[Holder]
    queue: dict[str, int]
    """Waiting tasks per class."""
    running: int
    oldest_wait_s: dict[str, float] = Field(default_factory=dict)
    """Of the tasks that wait, per class."""
    last_swaps: list[Swap] = Field(default_factory=list)


class Command(Wire):
    """On `pause_<holder>` and `resume_<holder>`: a doorbell; the row is the truth."""

    v: int = 1
    device: str
    epoch: int
    instance: str
    deadline_ms: int | None = None
    task_id: str | None = None


class Reply(Wire):
    """On `<holder>_paused` and `<holder>_resumed`."""

    v: int = 1
    device: str
    epoch: int
    instance: str
    phase: Literal["received", "done"]
    used_bytes: int = 0
    free_bytes: int = 0
    t_ms: float = 0.0


def command_of(message: dict[str, Any]) -> Command | None:
    """None for what is bare, malformed or of another version: then the row has to be read."""
    try:
        found = Command.model_validate(message)
    except ValidationError:
        return None
    return found if found.v == 1 else None

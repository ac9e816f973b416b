"""What a holder has to do about its row. Decides and does nothing, so that every order of events can be tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.schemas.gpu import Holder, Phase

Step = Literal["wake", "park", "kill"]
MUST_HOLD_NOTHING = frozenset({"fencing", "quarantined", "unknown"})


@dataclass
class Reconciler:
    """The state of one holder; `obey` takes a row in, `step` says what to begin, the rest tells what became of it."""

    phase: Phase = "parked"
    error: str | None = None
    """Why the command in hand failed; told until the next command."""
    row: Holder | None = None
    due: float | None = None
    """When the command in hand has to be done, on the holder's own clock."""

    def obey(self, row: Holder, now: float) -> bool:
        """Takes a newer row in. True where it holds a command that was not known."""
        if self.row is not None and (row.instance, row.epoch) == (self.row.instance, self.row.epoch):
            self.row = row
            return False
        if self.row is not None and row.instance == self.row.instance and row.epoch < self.row.epoch:
            return False  # delayed: an older command is no command
        self.row, self.error = row, None
        self.due = None if row.deadline_ms is None else now + row.deadline_ms / 1000
        if self.phase == "resident" and row.desired == "parked":
            self.phase = "draining"
        elif self.phase == "draining" and row.desired == "resident":
            self.phase = "resident"
        return True

    def step(self, *, busy: bool, working: bool, alive: bool, now: float) -> Step | None:
        """What to begin now.

        `busy`: somebody uses the model. `working`: a wake or a park is under way. `alive`: there is a model's process.
        """
        if self.row is None:
            return None
        if self.row.observed in MUST_HOLD_NOTHING:
            # A process that said it let go, and did not, is why we are asked.
            return "kill" if self.phase != "parked" or working or alive else None
        late = self.due is not None and now >= self.due and self.row.desired == "parked"
        if self.row.desired == "parked" and self.phase != "parked" and (late or self.phase == "waking"):
            return "kill"
        if working:
            return None
        if self.phase == "draining" and not busy:
            return "park"
        if self.phase == "parked" and self.row.desired == "resident" and self.error is None:
            return "wake"
        return None

    def begun(self, step: Step) -> None:
        self.phase = {"wake": "waking", "park": "parking", "kill": self.phase}[step]  # type: ignore[assignment]

    def woken(self) -> None:
        self.phase = "resident"
        if self.row is not None and self.row.desired == "parked":
            self.phase = "draining"

    def parked(self, error: str | None = None) -> None:
        """Nothing is held any more: it was let go, it failed, or it was killed."""
        self.phase, self.error = "parked", error

    def fenced(self) -> None:
        """The lease ran out: everything known is void, and nothing is held."""
        self.phase, self.error, self.row, self.due = "parked", None, None, None

    @property
    def ready(self) -> bool:
        """The model is in memory and may be used."""
        return self.phase == "resident" and self.row is not None and self.row.desired == "resident"

    @property
    def turn(self) -> bool:
        """Background work may compute."""
        return self.ready and self.row is not None and self.row.turn and self.row.observed == "resident"

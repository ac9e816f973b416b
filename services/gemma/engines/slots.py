"""Which sequence of the context a prompt is read into, so that as little as possible is read anew.

A slot is a sequence with what stands in its cells. Slots of finished answers stay as they are until somebody needs
their place, the longest unused first. Cells are promised to an answer for its whole length before it begins (as in
Orca, Yu et al. 2022), so that none can be stuck in the middle for want of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

KEEP_SHARE = 0.5
"""A slot whose contents agree with a prompt in at least this part belongs to the same conversation: it is gone on with
in place. Below that only the beginning is shared, as with a system prompt, and is copied, so that the other
conversation stays."""


@dataclass(eq=False)
class Slot:
    number: int
    """The sequence in the context."""
    tokens: list[int] = field(default_factory=list)
    """What stands in its cells or was put aside, by position."""
    promised: int = 0
    """Cells for the answer in the making; 0 where there is none."""
    used: int = 0
    """When it was last needed, counted in answers."""

    @property
    def busy(self) -> bool:
        return self.promised > 0


@dataclass(frozen=True)
class Place:
    """Where a prompt goes."""

    slot: Slot
    same: int
    """Tokens of the prompt that need not be read."""
    copied_from: Slot | None
    """The slot that has them, where it is another."""


class Slots:
    """Bookkeeping only: whoever asks does to the context what it is told."""

    def __init__(self, count: int, cells: int) -> None:
        self._slots = [Slot(number) for number in range(count)]
        self._cells, self._tick = cells, 0

    def place(self, prompt: Sequence[int], promised: int) -> Place | None:
        """None where it has to wait for a slot or for cells."""
        free = [slot for slot in self._slots if not slot.busy]
        if not free or sum(slot.promised for slot in self._slots) + promised > self._cells:
            return None
        best = max(self._slots, key=lambda slot: (_same(slot.tokens, prompt), not slot.busy))
        same = _same(best.tokens, prompt)
        slot = self._chosen(best, same, free)
        self._tick += 1
        slot.promised, slot.used = promised, self._tick
        slot.tokens = list(prompt[:same])
        return Place(slot, same, None if slot is best or not same else best)

    def surplus(self, *, all_of_them: bool = False) -> list[Slot]:
        """Idle slots whose cells are needed, or all; they are empty when it returns."""
        gone = []
        idle = sorted((slot for slot in self._slots if slot.tokens and not slot.busy), key=lambda slot: slot.used)
        taken = sum(slot.promised or len(slot.tokens) for slot in self._slots)
        for slot in idle:
            if taken <= self._cells and not all_of_them:
                break
            taken -= len(slot.tokens)
            slot.tokens = []
            gone.append(slot)
        return gone

    def forget(self) -> None:
        """The cells were emptied."""
        for slot in self._slots:
            slot.tokens = []

    @staticmethod
    def _chosen(best: Slot, same: int, free: Sequence[Slot]) -> Slot:
        if not best.busy and same and same >= KEEP_SHARE * len(best.tokens):
            return best
        others = [slot for slot in free if not same or slot is not best] or list(free)
        return min(others, key=lambda slot: (bool(slot.tokens), slot.used))


def _same(tokens: Sequence[int], prompt: Sequence[int]) -> int:
    """Length of the common beginning; the prompt's last token is always read, for it has to be answered."""
    most = min(len(tokens), len(prompt) - 1)
    return next((at for at in range(most) if tokens[at] != prompt[at]), max(most, 0))

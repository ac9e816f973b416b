"""The one language model: written with by several answers at once, taken away and given back in the middle of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from functools import partial

from services.gemma.engines import BUILTIN, LanguageEngine, Piece, Ruler, Sampling, Turn
from services.gemma.engines.served import Rulers
from services.gemma.pace import paced
from services.gemma.queue import Queue
from services.gemma.settings import Settings
from shared import engines
from shared.errors import ModelLost, ModelNotReady
from shared.gpu.holder import Holder
from shared.gpu.supervisor import ModelChild
from shared.telemetry import here

log = logging.getLogger(__name__)
LOOK_AGAIN_S = 5.0
WAIT_S = 120.0
"""How long an answer waits for the model before it goes without."""
LOST = 2
"""Times that an answer goes on after the model's process died over it."""
Compose = Callable[[Ruler], Sequence[Turn]]
"""Makes the prompt, in a thread."""
Told = Callable[[str, str], None]
"""Takes a stage (`waiting`, `paused`, `writing`) and a sentence about it."""
Position = Callable[[int], None]


class ModelLoader:
    """Picks the model up by itself once its package and weights are there."""

    def __init__(self, settings: Settings, holder: Holder, child: ModelChild) -> None:
        """Raises Invalid where the engine of the settings has an unknown name."""
        self._settings, self._holder, self._child = settings, holder, child
        self._kind: type[LanguageEngine] = engines.load("language", BUILTIN, settings.engine)
        self._looked = -LOOK_AGAIN_S
        self._reason: str | None = None
        self._queue = Queue(settings.parallel, settings.queue_length)
        here().ask("nemo_llm_waiting", lambda: self._queue.waiting)
        here().ask("nemo_llm_writing", lambda: self._queue.writing)

    @property
    def ahead(self) -> int:
        """Answers that a new one would have to wait for; 0 where it could begin at once."""
        return self._queue.ahead

    def why_not(self) -> str | None:
        """Why there is no model, for a reader; None where there is one or it can be loaded."""
        if self._holder.ready:
            return None
        if time.monotonic() - self._looked >= LOOK_AGAIN_S:
            self._looked, self._reason = time.monotonic(), self._kind.missing(self._settings)
        return self._reason

    async def write(
        self,
        compose: Compose,
        sampling: Sampling,
        cancelled: Callable[[], bool],
        told: Told,
        *,
        user: str = "",
        position: Position | None = None,
    ) -> AsyncGenerator[Piece, None]:
        """Pieces as they come, until `cancelled()`. So many callers at once as the settings say, the others in turns.

        `user`: whose turn it is, for turns go round by user. `position` hears how many answers go first, whenever that
        changes; without it `told` does. Where others get the memory meanwhile it waits and goes on after the last
        token. Raises Busy where too many wait, ModelNotReady where there is no model or it fails, and what the engine
        raises for the prompt.
        """

        def waits(ahead: int) -> None:
            if position is not None:
                position(ahead)
            elif ahead:
                told("waiting", f"answers to be written first: {ahead}")

        with paced() as pace:
            async with self._queue.place(user, waits, unless=cancelled) as mine:
                if mine and not cancelled():
                    async with aclosing(self._write(compose, sampling, cancelled, told)) as pieces:
                        async for piece in pieces:
                            pace.heard(piece)
                            yield piece

    async def _write(
        self, compose: Compose, sampling: Sampling, cancelled: Callable[[], bool], told: Told
    ) -> AsyncGenerator[Piece, None]:
        reason = self.why_not()
        if reason is not None:
            raise ModelNotReady(reason, retry_after_s=LOOK_AGAIN_S)
        answer = _Answer(sampling)
        while not (answer.ended or cancelled()):
            try:
                async with self._holder.use(most_s=WAIT_S, told=partial(told, answer.stage), unless=cancelled):
                    if answer.turns is None:
                        answer.turns = await asyncio.to_thread(compose, self._ruler())
                    elif answer.written:
                        told("writing", "the model is back")
                    async with aclosing(self._go_on(answer)) as pieces:
                        async for piece in pieces:
                            yield piece
                            if cancelled():
                                break
            except ModelNotReady as error:
                answer.survive(error, cancelled=cancelled())

    async def _go_on(self, answer: _Answer) -> AsyncGenerator[Piece, None]:
        """The rest of the answer, or as much of it as is written before others get the memory."""
        assert answer.turns is not None
        before = answer.written
        rest = replace(answer.sampling, max_tokens=answer.sampling.max_tokens - before)
        asked = self._child.stream(
            "write", turns=[asdict(each) for each in answer.turns], sampling=asdict(rest), so_far=answer.so_far
        )
        async with aclosing(asked) as pieces:
            async for piece in pieces:
                answer.so_far, answer.written = answer.so_far + piece["text"], before + piece["written"]
                answer.ended = piece["finish"] is not None
                yield Piece(piece["text"], answer.written, piece["finish"])
                if self._holder.must_yield:
                    return
        answer.ended = True

    def _ruler(self) -> Ruler:
        return Rulers(self._child, asyncio.get_running_loop())


@dataclass
class _Answer:
    """One in the making: what it takes to go on with it."""

    sampling: Sampling
    turns: Sequence[Turn] | None = None
    so_far: str = ""
    written: int = 0
    """Tokens."""
    lost: int = 0
    ended: bool = False

    def survive(self, error: ModelNotReady, *, cancelled: bool) -> None:
        """Raises it where going on would not help."""
        if cancelled:
            return
        if not isinstance(error, ModelLost) or self.lost >= LOST:
            raise error
        self.lost += 1
        log.warning("an answer goes on after the model was lost")

    @property
    def stage(self) -> str:
        return "paused" if self.written else "waiting"


def budget_bytes(settings: Settings) -> int:
    """What the model is taken to need until it is measured: its file, its context and its runtime."""
    path = settings.models_dir / settings.llm_model
    weights = path.stat().st_size if path.is_file() else 0
    cells = settings.cache_tokens or settings.context_tokens * settings.parallel
    return int(weights * 1.2) + cells * 64 * 1024 + 256 * 1024**2

"""The model's own words beside the quotations: told from mere repetition while they come.

Small models like to copy what they were shown, or to say one sentence for ever. What the reader has in front of them
already is held back until it turns into something of its own; a loop ends the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.gemma import prompts
from services.gemma.engines import Open, Piece, Ruler, Turn
from services.gemma.runs import Run
from services.gemma.settings import Settings
from shared.errors import ModelNotReady
from shared.schemas.gemma import ContextUse
from shared.schemas.rag import Citation, Message, SearchHit

TAIL_CHARS = 40
LEAST_CHARS = 160
MOST_REPEATS = 3
MERE_SHARE = 0.6
MERE_CHARS = 60
"""A shorter part of what was shown is an answer ("on Tuesday"), a longer one a repetition."""


class Echo:
    """One answer; feed it the pieces, show what it gives back."""

    def __init__(self, shown: Iterable[str]) -> None:
        self._shown = [plain for text in shown if (plain := _plain(text))]
        self._held = ""
        self._own = False
        self._said = ""

    def hear(self, piece: str) -> str:
        """What may be shown now."""
        self._said += piece
        if self._own:
            return piece
        self._held += piece
        plain = _plain(self._held)
        if not plain or any(plain in each for each in self._shown):
            return ""
        return self._let_go()

    def end(self) -> str:
        """What was held to the last; nothing where it only repeats."""
        plain = _plain(self._held)
        if self._own or not self._held.strip() or any(plain in each and _much(plain, each) for each in self._shown):
            return ""
        return self._let_go()

    @property
    def loops(self) -> bool:
        """It says the same again and again."""
        if len(self._said) < LEAST_CHARS:
            return False
        return self._said.count(self._said[-TAIL_CHARS:]) >= MOST_REPEATS

    def _let_go(self) -> str:
        self._own, held = True, self._held.lstrip()
        self._held = ""
        return held


def _much(part: str, whole: str) -> bool:
    return len(part) >= min(MERE_CHARS, MERE_SHARE * len(whole))


def _plain(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


class Speech:
    """What the model adds to one answer."""

    def __init__(self, run: Run, history: Sequence[Message], settings: Settings) -> None:
        self._run, self._history, self._settings = run, history, settings
        self._echo = Echo([])
        self._prompt: prompts.Prompt | None = None
        self._model = ""
        self._shown: Sequence[SearchHit] = ()
        self._context_tokens = 0

    def compose(self, engine: Ruler) -> Sequence[Turn]:
        """The prompt, cut to the engine's room. In the engine's thread. Raises TooLarge."""
        draft, request = self._run.draft, self._run.request
        self._model = engine.capabilities.model
        self._shown = _quoted_first(draft.hits, draft.citations)
        self._context_tokens = engine.capabilities.context_tokens
        self._prompt = prompts.fitted(
            engine,
            request.message,
            self._shown,
            self._history,
            max_tokens=request.max_tokens,
            memory_tokens=self._settings.memory_tokens,
            with_memory=request.include_context,
        )
        shown = [turn.content for turn in self._prompt.turns]
        self._echo = Echo([request.message, *(each.quote for each in draft.citations), *shown])
        of_a_vault = request.include_context or self._history
        return self._prompt.turns if of_a_vault else Open(self._prompt.turns)

    def hear(self, piece: Piece) -> None:
        usage = self._run.draft.usage
        if not usage.prompt_tokens and self._prompt is not None:
            usage.prompt_tokens = self._prompt.length
            self._tell_context(self._prompt)
        usage.completion_tokens = piece.written
        usage.total_tokens = usage.prompt_tokens + usage.completion_tokens
        self._tell(self._echo.hear(piece.text))

    def _tell_context(self, prompt: prompts.Prompt) -> None:
        """What the model reads and what there was no room for, once that is known."""
        draft, fitted = self._run.draft, prompt.what_fitted()
        fitted["turns_left_out"] += draft.turns_left_out
        draft.context = ContextUse(
            **fitted, turns=prompt.earlier, prompt_tokens=prompt.length, context_tokens=self._context_tokens
        )
        ids = [hit.metadata.memory_id for hit in self._shown]
        used = {"memories": ids[: prompt.memories], "left_out": ids[prompt.memories :]}
        self._run.say("context", used | {"fitted": draft.context.model_dump()})
        self._run.say("status", {"stage": "writing", "model": self._model} | fitted)

    @property
    def loops(self) -> bool:
        return self._echo.loops

    def end(self) -> None:
        """Raises ModelNotReady where nothing of its own was said."""
        self._tell(self._echo.end())
        if self._run.draft.model != self._model and not self._run.cancelled:
            raise ModelNotReady("The language model had nothing to add.")

    def _tell(self, text: str) -> None:
        draft = self._run.draft
        if text and draft.model != self._model:
            lead = prompts.led(self._model) if draft.text else ""
            draft.words_at = len(draft.text) + len(lead)
            text, draft.model = lead + text, self._model
        if text:
            self._run.tell(text)


def _quoted_first(hits: Sequence[SearchHit], citations: Sequence[Citation]) -> list[SearchHit]:
    """In the order of the quotations, so that what is newer stands before what it supersedes."""
    quoted: dict[str, int] = {}
    for each in citations:
        quoted.setdefault(each.memory_id, len(quoted))
    return sorted(hits, key=lambda hit: quoted.get(hit.metadata.memory_id, len(quoted)))

"""Whose turn it is in a voice chat, over services that say what a test tells them to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.api_gateway.dialogue import Dialogue
from services.api_gateway.outgoing import Closed, Outgoing
from services.api_gateway.settings import Settings
from shared.auth.principal import Principal
from shared.errors import Busy, ModelNotReady, NotFound, ProductError, UpstreamUnavailable, VaultLocked
from shared.schemas.voice import CLOSE_LOCKED, CLOSE_REFUSED, SPOKEN_HZ, StartVoice
from tests.gateway_house import settings_for
from tests.voice_world import CONVERSATION, LOUD, SOFT, Model, Mouth, Stream

ANNA = Principal("usr_anna")


class World:
    """A dialogue, and all around it."""

    def __init__(self, folder: Path, settings: Settings | None = None, **start: Any) -> None:
        self.stream, self.model, self.mouth, self.out = Stream(), Model(), Mouth(), Outgoing()
        clients: Any = SimpleNamespace(transcription=self.stream, gemma=self.model, tts=self.mouth)
        said = StartVoice.model_validate({"type": "start", "mode": "hands_free"} | start)
        self.settings = settings or settings_for(folder, voice_silence_ms=0)
        self.dialogue = Dialogue(self.settings, clients, ANNA, said, self.out)
        self.got: list[Any] = []

    async def next(self) -> Any:
        message = await asyncio.wait_for(self.out.get(), 5)
        self.got.append(message if isinstance(message, bytes) else json.loads(message))
        return self.got[-1]

    async def until(self, kind: str | Callable[[Any], bool]) -> Any:
        while True:
            got = await self.next()
            if kind(got) if callable(kind) else isinstance(got, dict) and got["type"] == kind:
                return got

    def types(self) -> list[str]:
        return [each["type"] if isinstance(each, dict) else "sound" for each in self.got]

    def vad(self, state: str, at_s: float) -> None:
        self.stream.tell(type="vad", state=state, at_s=at_s)

    def words(self, text: str, start_s: float = 0.0, utterance: int = 0) -> None:
        """Speech, its silence, its words, and that this was all."""
        self.vad("speech", start_s)
        self.vad("silence", start_s + 1)
        self.stream.tell(type="final", utterance=utterance, start_s=start_s, text=text)
        self.stream.tell(type="quiet", audio_ms=int(1000 * start_s) + 1000)

    async def asked(self, text: str = "What is it?", start_s: float = 0.0) -> None:
        count = len(self.model.asked) + 1
        self.words(text, start_s, count)
        await self.until("thinking")
        assert len(self.model.asked) == count and self.model.asked[-1].message == text


@asynccontextmanager
async def world(folder: Path, settings: Settings | None = None, **start: Any) -> AsyncIterator[World]:
    made = World(folder, settings, **start)
    await made.dialogue.begin()
    await made.until("ready")
    try:
        yield made
    finally:
        await asyncio.wait_for(made.dialogue.leave(), 20)


async def test_a_silence_makes_a_question_and_the_first_sentence_sounds_before_the_answer_is_complete(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as chat:
        assert chat.stream.said[0] == {
            "type": "start", "sample_rate_hz": 16_000, "quiet": True, "keep": False, "remember": False,
            "diarize": False, "emotion": False,
        }  # fmt: skip
        await chat.asked()
        chat.model.tell("It is the first sentence. ")
        chat.model.tell("And")
        mark = await chat.until("sentence")
        assert (mark["text"], mark["at_ms"]) == ("It is the first sentence.", 0)
        chat.model.tell(" this is another one [1].")
        chat.model.end()
        assert (await chat.until("sentence"))["at_ms"] == 200
        done = await chat.until("done")
    assert done["message_id"] == "msg_1" and done["conversation_id"] == CONVERSATION
    assert done["timings"]["spoken_s"] == 0.4
    assert [each.input for each in chat.mouth.said] == ["It is the first sentence.", "And this is another one."]
    assert {each.response_format for each in chat.mouth.said} == {"pcm"}
    assert sum(len(each) for each in chat.got if isinstance(each, bytes)) == SPOKEN_HZ * 2 * 4 // 10
    finals = [each["final"] for each in chat.got if isinstance(each, dict) and each["type"] == "transcript"]
    assert finals == [False, True]
    assert not chat.model.cancelled


async def test_a_quotation_is_said_while_the_model_still_thinks(tmp_path: Path) -> None:
    async with world(tmp_path) as chat:
        await chat.asked()
        chat.model.tell("“It is so.” — Anna at 1:05 in Plans [1]")
        assert (await chat.until("sentence"))["text"] == "It is so, Anna in Plans"
        chat.model.tell("\nAnd more.")
        chat.model.end()
        assert (await chat.until("sentence"))["text"] == "And more."
        await chat.until("done")


async def test_speech_over_the_answer_ends_it_and_becomes_the_next_question(tmp_path: Path) -> None:
    async with world(tmp_path) as chat:
        chat.mouth.length_ms = 60_000
        await chat.asked()
        chat.model.tell("It is a very long sentence. And so on. ")
        await chat.until(lambda got: isinstance(got, bytes))
        chat.vad("speech", 10.0)
        await chat.until(lambda got: isinstance(got, dict) and got.get("at_s") == 10.0)
        for _ in range(4):
            await chat.dialogue.sound(LOUD)
        ended = await chat.until("interrupted")
        assert ended["by"] == "speech" and ended["message_id"] == "msg_1"
        assert chat.model.cancelled == ["msg_1"]
        at = len(chat.got)
        chat.vad("silence", 11.0)
        chat.stream.tell(type="final", utterance=9, start_s=10.1, text="Stop. Why?")
        chat.stream.tell(type="quiet", audio_ms=12_000)
        await chat.until("thinking")
        assert chat.types()[at:] == ["vad", "transcript", "transcript", "thinking"], "nothing of the old answer"
        assert chat.model.asked[1].message == "Stop. Why?" and chat.model.asked[1].conversation_id == CONVERSATION


async def test_an_echo_neither_ends_the_answer_nor_is_asked(tmp_path: Path) -> None:
    async with world(tmp_path) as chat:
        chat.mouth.length_ms = 1_500
        await chat.asked()
        chat.model.tell("It is said aloud. And")
        await chat.until(lambda got: isinstance(got, bytes))
        chat.vad("speech", 5.0)
        await chat.until(lambda got: isinstance(got, dict) and got.get("at_s") == 5.0)
        for _ in range(20):
            await chat.dialogue.sound(SOFT)
        chat.model.end()
        await chat.until("done")
        for _ in range(20):  # the end of the echo, after that of the answer
            await chat.dialogue.sound(SOFT)
        chat.vad("silence", 6.0)
        chat.stream.tell(type="final", utterance=5, start_s=5.0, text="It is said aloud.")
        chat.stream.tell(type="quiet", audio_ms=7_000)
        await chat.asked("And what else?", 20.0)
    assert [each.message for each in chat.model.asked] == ["What is it?", "And what else?"]
    assert "interrupted" not in chat.types()


async def test_before_the_answer_sounds_a_soft_word_ends_it(tmp_path: Path) -> None:
    async with world(tmp_path) as chat:
        await chat.asked()
        chat.vad("speech", 5.0)
        await chat.until(lambda got: isinstance(got, dict) and got.get("at_s") == 5.0)
        for _ in range(4):
            await chat.dialogue.sound(SOFT)
        assert (await chat.until("interrupted"))["spoken_ms"] == 0


async def test_who_goes_on_speaking_within_the_silence_asks_one_question(tmp_path: Path) -> None:
    async with world(tmp_path, settings_for(tmp_path, voice_silence_ms=3_000)) as chat:
        chat.words("What did Anna say", 0.0, 0)
        await chat.until("transcript")
        chat.words("about the river?", 2.0, 1)
        await chat.until("thinking")
    assert [each.message for each in chat.model.asked] == ["What did Anna say about the river?"]


async def test_push_to_talk_hears_only_what_is_said_while_it_is_held(tmp_path: Path) -> None:
    async with world(tmp_path, mode="push") as chat:
        await chat.dialogue.sound(LOUD)
        assert chat.stream.pcm == b""
        await chat.dialogue.talk(True)
        for _ in range(10):
            await chat.dialogue.sound(LOUD)
        chat.words("What is it", 0.0, 0)  # a pause within the question is not its end: quiet at 1000 ms of sound
        await chat.until("transcript")
        await chat.dialogue.sound(LOUD)
        await chat.dialogue.talk(False)
        await chat.dialogue.sound(LOUD)
        assert chat.stream.pcm == LOUD * 11 and chat.stream.said[-1] == {"type": "flush"}
        assert not chat.model.asked
        chat.stream.tell(type="final", utterance=1, start_s=1.0, text="made of?")
        chat.stream.tell(type="quiet", audio_ms=1_000)  # told before the flush was heard
        chat.stream.tell(type="quiet", audio_ms=1_100)
        await chat.until("thinking")
        assert chat.model.asked[0].message == "What is it made of?"
        await chat.dialogue.talk(True)
        assert (await chat.until("interrupted"))["by"] == "talk" and chat.model.cancelled == ["msg_1"]


async def test_silence_under_the_button_is_no_question(tmp_path: Path) -> None:
    async with world(tmp_path, mode="push") as chat:
        await chat.dialogue.talk(True)
        await chat.dialogue.talk(False)
        chat.stream.tell(type="quiet", audio_ms=0)
        assert (await chat.until("warning"))["code"] == "nothing_heard"
    assert not chat.model.asked


async def test_an_answer_that_had_not_begun_is_cancelled_once_it_has(tmp_path: Path) -> None:
    async with world(tmp_path) as chat:
        chat.model.gate.clear()
        chat.words("What is it?")
        await chat.until(lambda got: isinstance(got, dict) and got.get("final") is True)
        while not chat.model.asked:
            await asyncio.sleep(0.01)
        await chat.dialogue.interrupt("button")
        assert "message_id" not in await chat.until("interrupted")
        assert not chat.model.cancelled
        chat.words("And that?", 5.0, 1)
        await chat.until(lambda got: isinstance(got, dict) and got.get("final") is True)
        chat.model.gate.set()
        await chat.until("thinking")
        assert chat.model.cancelled == ["msg_1"]
        assert chat.model.asked[1].conversation_id == CONVERSATION, "the same conversation, which the first has begun"


async def test_who_leaves_cancels_also_what_was_just_asked(tmp_path: Path) -> None:
    async with world(tmp_path) as chat:
        chat.model.gate.clear()
        chat.words("What is it?")
        while not chat.model.asked:
            await asyncio.sleep(0.01)
        asyncio.get_running_loop().call_later(0.2, chat.model.gate.set)
    assert chat.model.cancelled == ["msg_1"]


async def test_without_a_speech_engine_the_answer_is_text(tmp_path: Path) -> None:
    made = World(tmp_path)
    made.mouth.refuses = ModelNotReady("No voice is installed; run `nemo models pull`.")
    await made.dialogue.begin()
    warning = await made.until("warning")
    assert warning["code"] == "no_speech" and "nemo models pull" in warning["detail"]
    assert (await made.until("ready"))["speak"] is False
    await made.asked()
    made.model.tell("It is text. ")
    made.model.end()
    await made.until("done")
    assert "audio" not in made.types() and "token" in made.types()
    await made.dialogue.leave()


@pytest.mark.parametrize("error", [UpstreamUnavailable("The tts service does not answer."), Busy()])
async def test_speech_that_fails_on_the_way_leaves_the_text(tmp_path: Path, error: ProductError) -> None:
    async with world(tmp_path) as chat:
        await chat.asked()
        chat.mouth.speech_fails = error
        chat.model.tell("It is text. Only text, and more of it. ")
        chat.model.end()
        warning = await chat.until("warning")
        assert warning["code"] == "no_speech" and warning["detail"].endswith("goes on as text.")
        await chat.until("done")


async def test_a_long_answer_is_not_said_to_its_end(tmp_path: Path) -> None:
    async with world(tmp_path, settings_for(tmp_path, voice_silence_ms=0, voice_spoken_chars=40)) as chat:
        await chat.asked()
        chat.model.tell("It is the first sentence. It is the second sentence. It is the third sentence. ")
        chat.model.end()
        assert (await chat.until("warning"))["code"] == "speech_cut"
        await chat.until("done")
    assert [each.input for each in chat.mouth.said] == ["It is the first sentence."]
    assert chat.types().count("warning") == 1


@pytest.mark.parametrize(
    ("start", "chosen", "warns"),
    [({}, "joe", False), ({"language": "de"}, "karl", False), ({"voice": "karl"}, "karl", False),
     ({"voice": "nobody"}, "joe", True)],
)  # fmt: skip
async def test_the_voice(tmp_path: Path, start: dict[str, str], chosen: str, warns: bool) -> None:
    made = World(tmp_path, **start)
    await made.dialogue.begin()
    assert (await made.until("ready"))["voice"] == chosen
    assert [each["code"] for each in made.got if each["type"] == "warning"] == ["unknown_voice"] * warns
    await made.dialogue.leave()


@pytest.mark.parametrize("error", [UpstreamUnavailable("The gemma service does not answer."), Busy("Too many.")])
async def test_an_answer_that_fails_leaves_the_chat_open(tmp_path: Path, error: ProductError) -> None:
    async with world(tmp_path) as chat:
        chat.model.refuses = error
        chat.words("What is it?")
        told = await chat.until("error")
        assert told["code"] == error.code and "still open" in told["detail"]
        chat.model.refuses = None
        await chat.asked("Again, what is it?", 5.0)


async def test_an_answer_that_breaks_off_is_told(tmp_path: Path) -> None:
    async with world(tmp_path) as chat:
        await chat.asked()
        chat.model.tell("It is")
        chat.model.events.put_nowait(None)
        assert (await chat.until("error"))["code"] == "upstream_unavailable"
        await chat.asked("Again, what is it?", 5.0)
        chat.model.events.put_nowait(("error", {"code": "busy", "detail": "The model is away."}))
        assert (await chat.until("error"))["code"] == "busy"


async def test_a_conversation_that_is_not_there_closes_the_chat(tmp_path: Path) -> None:
    made = World(tmp_path, conversation_id="cnv_01J00000000000000000000000")
    made.model.refuses = NotFound()
    with pytest.raises(Closed) as closed:
        await made.dialogue.begin()
    assert closed.value.code == CLOSE_REFUSED and (await made.next())["code"] == "not_found"


async def test_a_locked_vault_closes_the_chat_wherever_it_is_met(tmp_path: Path) -> None:
    made = World(tmp_path)
    made.stream.first = {"type": "error", "code": "vault_locked", "detail": "The vault is locked."}
    with pytest.raises(Closed) as closed:
        await made.dialogue.begin()
    assert closed.value.code == CLOSE_LOCKED and (await made.next())["code"] == "vault_locked"
    for lock in ("stream", "model"):
        async with world(tmp_path) as chat:
            if lock == "stream":
                chat.stream.tell(type="error", code="vault_locked", detail="The vault was locked.")
                chat.stream.lose(CLOSE_LOCKED)
            else:
                chat.model.refuses = VaultLocked()
                chat.words("What is it?")
            assert (await chat.until("error"))["code"] == "vault_locked"
            with pytest.raises(Closed) as closed:
                while True:
                    await chat.next()
            assert closed.value.code == CLOSE_LOCKED


async def test_a_lost_microphone_is_told_once_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as chat:
        chat.stream.lose(1013)
        assert (await chat.until("error"))["code"] == "not_heard"
        chat.stream.refuses = UpstreamUnavailable("The transcription service does not answer.")
        monkeypatch.setattr("services.api_gateway.dialogue.AGAIN_S", 0.0)
        for _ in range(5):
            await chat.dialogue.sound(LOUD)
        chat.stream.refuses = None
        await chat.dialogue.sound(LOUD)
        assert (await chat.next())["code"] == "heard_again" and chat.stream.opened == 2
        await chat.asked("Am I heard?")


async def test_an_event_that_nobody_understands_is_a_loss_that_is_told(tmp_path: Path) -> None:
    async with world(tmp_path) as chat:
        chat.stream.tell(type="vad", state="speech")
        assert (await chat.until("error"))["code"] == "not_heard"


async def test_a_chat_begins_also_where_nobody_hears(tmp_path: Path) -> None:
    made = World(tmp_path)
    made.stream.refuses = UpstreamUnavailable("The transcription service does not answer.")
    await made.dialogue.begin()
    assert (await made.until("error"))["code"] == "upstream_unavailable"
    assert (await made.until("ready"))["mode"] == "hands_free"
    await made.dialogue.leave()


async def test_a_remembered_chat_is_stopped_whoever_ends_it(tmp_path: Path) -> None:
    made = World(tmp_path, remember=True)
    made.stream.first = {"type": "ready", "transcript_id": "rec_1"}
    await made.dialogue.begin()
    assert (await made.until("ready"))["transcript_id"] == "rec_1"
    assert made.stream.said[0]["keep"] and made.stream.said[0]["remember"]
    made.stream.tell(type="end", transcript_id="rec_1", job_id="job_1")
    made.stream.lose(1000)
    await made.dialogue.stop()
    end = await made.until("end")
    assert (end["transcript_id"], end["job_id"]) == ("rec_1", "job_1")
    assert {"type": "stop"} in made.stream.said and "error" not in made.types()
    await made.dialogue.leave()

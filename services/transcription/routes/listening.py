"""Speech to text that is not kept, as OpenAI's clients ask for it; the gateway has these routes below `/v1`."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from services.transcription import exports, openai
from services.transcription.diarization import assign
from services.transcription.listening import Ask, Listening, Part, spoken_in
from services.transcription.routes import Body
from shared.audio.decode import Decoded
from shared.auth.dependencies import ForUser, FromService
from shared.errors import ProductError
from shared.problems import openai_envelope
from shared.schemas.openai import (
    AudioForm,
    AudioText,
    DiarizationAnswer,
    DiarizationForm,
    DiarizedText,
    Model,
    TextDelta,
    TextDone,
    VerboseText,
)
from shared.schemas.transcription import Segment
from shared.schemas.wire import Wire

log = logging.getLogger(__name__)
router = APIRouter(prefix="/listening")


async def the_listening(request: Request, user: ForUser) -> AsyncIterator[Listening]:
    """With a seat, for as long as the answer is on its way."""
    listening: Listening = request.app.state.listening
    async with listening.seat(user):
        yield listening


Ears = Annotated[Listening, Depends(the_listening)]
Answer = AudioText | VerboseText | DiarizedText


@router.post("/transcriptions", response_model=Answer, response_model_exclude_none=True)
async def transcriptions(body: Body, user: ForUser, ears: Ears) -> Any:
    data = await ears.received(body)
    form, ask = await _asked(ears, body.pairs)
    sound = await ears.decoded(data)
    if form.stream and form.response_format in ("json", "text", "diarized_json"):
        return StreamingResponse(_events(ears, sound, form, ask), media_type="text/event-stream")
    parts = [part async for part in ears.speech(sound, ask)]
    return await _answer(ears, sound, form, parts)


@router.post("/translations", response_model=AudioText | VerboseText, response_model_exclude_none=True)
async def translations(body: Body, user: ForUser, ears: Ears) -> Any:
    """Into English."""
    data = await ears.received(body)
    form, ask = await _asked(ears, body.pairs, translate=True)
    sound = await ears.decoded(data)
    parts = [part async for part in ears.speech(sound, ask)]
    return await _answer(ears, sound, form, parts, task="translate")


@router.post("/diarization")
async def diarization(body: Body, user: ForUser, ears: Ears) -> DiarizationAnswer:
    data = await ears.received(body)
    form = openai.read_form(DiarizationForm, body.pairs)
    sound = await ears.decoded(data)
    found = openai.who_when(await ears.turns(sound, **_hints(form)), sound.duration_s)
    if form.response_format == "rttm":
        turns = [(each.speaker, each.start, each.end) for each in found.segments]
        return PlainTextResponse(exports.rttm_of(turns, "audio"))  # type: ignore[return-value]
    return found


@router.get("/models")
async def models(request: Request, caller: FromService) -> list[Model]:
    listening: Listening = request.app.state.listening
    return [Model(id=listening.model, created=listening.weights_s)]


async def _asked(ears: Listening, pairs: list[tuple[str, str]], *, translate: bool = False) -> tuple[AudioForm, Ask]:
    form = openai.read_form(AudioForm, pairs)
    openai.check_model(form.model, ears.model)
    able = await ears.able()
    if translate:
        openai.check_translates(able)
        openai.check_translation_format(form)
    # The language of a translation is its own: English, and the one that is spoken is found out.
    language = None if translate else openai.language_of(form, able)
    return form, Ask(language, openai.hotwords_of(form), translate)


def _hints(form: AudioForm | DiarizationForm) -> dict[str, int | None]:
    return {name: getattr(form, name) for name in ("num_speakers", "min_speakers", "max_speakers")}


async def _answer(
    ears: Listening, sound: Decoded, form: AudioForm, parts: list[Part], task: str = "transcribe"
) -> Response | Wire:
    segments = [each for part in parts for each in part.segments]
    text = openai.plain(form, segments)
    if text is not None:
        return PlainTextResponse(text)
    if form.response_format == "diarized_json":
        return openai.diarized(await _by_speaker(ears, sound, form, segments), sound.duration_s)
    if form.response_format == "verbose_json":
        language = "en" if task == "translate" else spoken_in(parts)
        return openai.verbose(form, segments, sound.duration_s, language, task)
    return openai.short(form, segments, sound.duration_s)


async def _by_speaker(ears: Listening, sound: Decoded, form: AudioForm, segments: list[Segment]) -> list[Segment]:
    """Speakers are the channels where these carry different voices."""
    if not segments or any(each.channel for each in segments):
        return segments
    return assign(segments, await ears.turns(sound, **_hints(form)))


async def _events(ears: Listening, sound: Decoded, form: AudioForm, ask: Ask) -> AsyncIterator[bytes]:
    """Deltas piece by piece, segments with their speakers where asked for, and the whole; an error is the last."""
    told: list[Segment] = []
    try:
        async for part in ears.speech(sound, ask):
            if part.segments:
                delta = (" " if told else "") + openai.text_of(part.segments)
                yield _event(TextDelta(delta=delta, logprobs=openai.logprobs(form, part.segments)))
                told += part.segments
        if form.response_format == "diarized_json":
            for each in openai.diarized_segments(await _by_speaker(ears, sound, form, told)):
                yield _event(each)
        yield _event(TextDone(text=openai.text_of(told), logprobs=openai.logprobs(form, told)))
    except ProductError as error:
        yield _data(json.dumps(openai_envelope(error)))
    except Exception as error:  # the status is sent; an event is what is left to say it with
        log.exception("a stream of text failed", extra={"kind": type(error).__name__})
        yield _data(json.dumps(openai_envelope(ProductError())))


def _event(event: Wire) -> bytes:
    return _data(event.model_dump_json(exclude_none=True))


def _data(text: str) -> bytes:
    return f"data: {text}\n\n".encode()

"""What OpenAI's clients send and read, made of our segments: the one place that knows their shapes."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from services.transcription.engines import Capabilities, Turn
from services.transcription.exports import srt_of, vtt_of
from services.transcription.languages import code_of, name_of
from shared.errors import Invalid, ModelNotFound
from shared.schemas.openai import (
    AudioForm,
    AudioText,
    DiarizationAnswer,
    DiarizedSegment,
    DiarizedText,
    DurationUsage,
    Logprob,
    SpeakerTurn,
    TimedSegment,
    TimedWord,
    VerboseText,
)
from shared.schemas.problem import FieldError
from shared.schemas.transcription import Segment
from shared.schemas.wire import Wire

Form = TypeVar("Form", bound=Wire)
ALIASES = frozenset(
    {
        "whisper-1",
        "gpt-transcribe",
        "gpt-4o-transcribe",
        "gpt-4o-mini-transcribe",
        "gpt-4o-mini-transcribe-2025-12-15",
        "gpt-4o-transcribe-diarize",
    }
)
"""Names that programs written for OpenAI send; they mean the one model that is here."""
NOT_HERE = ("known_speaker_names", "known_speaker_references")
HOTWORDS_CHARS = 1_000
"""More than an engine takes in; the rest would only cost time."""
LEAST = 1e-4
"""Probability below which a logarithm says nothing more; ours are rounded."""


def read_form(kind: type[Form], pairs: Iterable[tuple[str, str]]) -> Form:
    """Checked fields; `name[]`, or a list's name several times, is a list. Raises Invalid naming what is wrong."""
    values: dict[str, Any] = {}
    for name, value in pairs:
        plain = name.removesuffix("[]")
        if plain in NOT_HERE:
            detail = f"{plain} is not supported; leave it out, and the speakers are called A, B and so on."
            raise Invalid(detail, errors=[FieldError(pointer=f"/{plain}", detail="not supported")])
        if value == "":
            continue
        field = kind.model_fields.get(plain)
        if field is not None and "list" in str(field.annotation):
            values.setdefault(plain, []).append(value)
        else:
            values[plain] = value
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        found = [
            FieldError(pointer="/" + "/".join(map(str, each["loc"])), detail=each["msg"]) for each in error.errors()
        ]
        raise Invalid("; ".join(f"{each.pointer[1:]}: {each.detail}" for each in found), errors=found) from error


def check_model(asked: str, here: str) -> None:
    """Raises ModelNotFound."""
    if asked != here and asked not in ALIASES:
        detail = f"The model {asked[:100]!r} is not here; this server transcribes with {here!r}."
        raise ModelNotFound(detail, errors=[FieldError(pointer="/model", detail="not here")])


def language_of(form: AudioForm, able: Capabilities) -> str | None:
    """The ISO code of the language asked for. Raises Invalid where the model does not understand it."""
    if form.language is None:
        return None
    code = code_of(form.language)
    if code not in able.languages:
        known = ", ".join(sorted(able.languages)[:20])
        raise Invalid(
            f"The model {able.model} understands {known} only; leave `language` out, or set TRANSCRIPTION_MODEL to a"
            " multilingual model.",
            errors=[FieldError(pointer="/language", detail="not supported by this model")],
        )
    return code


def check_translates(able: Capabilities) -> None:
    """Raises Invalid."""
    if not able.translates:
        raise Invalid(
            f"The model {able.model} cannot translate; set TRANSCRIPTION_MODEL to a multilingual Whisper model, or use"
            " /v1/audio/transcriptions.",
            errors=[FieldError(pointer="/model", detail="does not translate")],
        )


def check_translation_format(form: AudioForm) -> None:
    """Raises Invalid."""
    if form.response_format == "diarized_json":
        detail = "response_format: a translation comes as json, text, srt, verbose_json or vtt."
        raise Invalid(detail, errors=[FieldError(pointer="/response_format", detail="not for translations")])


def hotwords_of(form: AudioForm) -> str | None:
    return ", ".join([*([form.prompt] if form.prompt else []), *form.keywords])[:HOTWORDS_CHARS] or None


def text_of(segments: Sequence[Segment]) -> str:
    return " ".join(each.text for each in segments)


def usage(duration_s: float) -> DurationUsage:
    return DurationUsage(seconds=math.ceil(duration_s))


def plain(form: AudioForm, segments: Sequence[Segment]) -> str | None:
    """The answer as text where `response_format` asks for one."""
    if form.response_format == "text":
        return text_of(segments) + "\n"
    if form.response_format == "srt":
        return srt_of(segments)
    return vtt_of(segments) if form.response_format == "vtt" else None


def short(form: AudioForm, segments: Sequence[Segment], duration_s: float) -> AudioText:
    return AudioText(text=text_of(segments), logprobs=logprobs(form, segments), usage=usage(duration_s))


def verbose(form: AudioForm, segments: Sequence[Segment], duration_s: float, language: str, task: Any) -> VerboseText:
    granularities = form.timestamp_granularities or ["segment"]
    timed = [_timed(at, each) for at, each in enumerate(segments)]
    words = [TimedWord(word=word.word, start=word.start_s, end=word.end_s) for each in segments for word in each.words]
    return VerboseText(
        task=task,
        language=name_of(language),
        duration=round(duration_s, 3),
        text=text_of(segments),
        segments=timed if "segment" in granularities else None,
        words=words if "word" in granularities else None,
        usage=usage(duration_s),
    )


def _timed(number: int, segment: Segment) -> TimedSegment:
    """The compression ratio is Whisper's own: bytes of the text by bytes of the text deflated."""
    raw = segment.text.encode()
    return TimedSegment(
        id=number,
        start=segment.start_s,
        end=segment.end_s,
        text=" " + segment.text,
        avg_logprob=round(math.log(max(segment.confidence, LEAST)), 4),
        compression_ratio=round(len(raw) / len(zlib.compress(raw)), 4),
    )


def logprobs(form: AudioForm, segments: Sequence[Segment]) -> list[Logprob] | None:
    if "logprobs" not in form.include:
        return None
    return [
        Logprob(
            token=word.word,
            logprob=round(math.log(max(word.confidence, LEAST)), 4),
            bytes=list(word.word.encode()),
        )
        for each in segments
        for word in each.words
    ]


def lettered(labels: Iterable[Any]) -> dict[Any, str]:
    """`A`, `B`, ... `Z`, `AA` in the order in which the labels first come."""
    return {label: _letters(at) for at, label in enumerate(dict.fromkeys(labels))}


def _letters(at: int) -> str:
    more, last = divmod(at, 26)
    return (_letters(more - 1) if more else "") + chr(ord("A") + last)


def diarized_segments(segments: Sequence[Segment]) -> list[DiarizedSegment]:
    names = lettered(each.speaker for each in segments)
    return [
        DiarizedSegment(
            id=each.segment_id, start=each.start_s, end=each.end_s, text=each.text, speaker=names[each.speaker]
        )
        for each in segments
    ]


def diarized(segments: Sequence[Segment], duration_s: float) -> DiarizedText:
    return DiarizedText(
        duration=round(duration_s, 3),
        text=text_of(segments),
        segments=diarized_segments(segments),
        usage=usage(duration_s),
    )


def who_when(turns: Sequence[Turn], duration_s: float) -> DiarizationAnswer:
    names = lettered(each.speaker for each in turns)
    return DiarizationAnswer(
        duration=round(duration_s, 3),
        speakers=list(names.values()),
        segments=[
            SpeakerTurn(speaker=names[each.speaker], start=round(each.start_s, 3), end=round(each.end_s, 3))
            for each in turns
        ],
    )

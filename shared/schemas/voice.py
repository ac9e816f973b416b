"""The voice chat: what a client and the platform say to each other, one JSON object a text frame; sound is binary."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, TypeAdapter

from shared.schemas.ids import ConversationId
from shared.schemas.rag import Citation
from shared.schemas.tts import Name
from shared.schemas.wire import Request, Wire

CLOSE_REFUSED, CLOSE_TOO_SLOW, CLOSE_LOCKED, CLOSE_TOO_LARGE = 4400, 4408, 4423, 1009
"""Why a socket was closed: what was sent makes no sense; the client does not read; the vault was locked; a frame."""
SPOKEN_HZ = 24_000
"""Of the answer's sound: 16-bit little-endian, mono."""
FRAME_BYTES = 64 * 1024
"""Largest binary frame of the microphone, two thirds of a second at 48 kHz."""

Mode = Literal["push", "hands_free"]


class StartVoice(Request):
    """The first message. After it come binary frames of sound."""

    type: Literal["start"]
    mode: Mode = "push"
    """push: a question is what is said between `talk` on and off. hands_free: one ends with a silence."""
    format: Literal["pcm_s16le"] = "pcm_s16le"
    sample_rate_hz: Annotated[int, Field(ge=8_000, le=48_000)] = 16_000
    """Of the microphone; mono."""
    conversation_id: ConversationId | None = None
    """Goes on with this one; None begins a new one with the first question."""
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")] | None = None
    """Of what is said; None: recognised."""
    voice: Name | None = None
    """An id of `GET /v1/audio/voices`; None: the first that speaks `language`, else the default."""
    include_context: bool = True
    """False: the model answers without looking into the vault."""
    speak: bool = True
    """False: the answer comes as text only."""
    remember: bool = False
    """True: what the microphone hears becomes a recording like that of a live stream. False: nothing of it is kept."""


class Talk(Request):
    """The button is held, or let go."""

    type: Literal["talk"]
    on: bool


class FlushVoice(Request):
    """The question is complete: do not wait for the silence."""

    type: Literal["flush"]


class Interrupt(Request):
    """Be quiet."""

    type: Literal["interrupt"]


class StopVoice(Request):
    """The chat is over; `end` is the answer."""

    type: Literal["stop"]


VoiceSaid = Annotated[StartVoice | Talk | FlushVoice | Interrupt | StopVoice, Field(discriminator="type")]
VOICE_SAID: TypeAdapter[StartVoice | Talk | FlushVoice | Interrupt | StopVoice] = TypeAdapter(VoiceSaid)


class VoiceEvent(Wire):
    """Numbered in their order, from 1."""

    seq: int = 0


class VoiceReady(VoiceEvent):
    type: Literal["ready"] = "ready"
    mode: Mode
    speak: bool
    """False also where no speech engine answers; a warning says so."""
    voice: str | None = None
    conversation_id: str | None = None
    transcript_id: str | None = None
    """Of the recording, with `remember`."""


class VoiceVad(VoiceEvent):
    """Somebody began or ended speaking."""

    type: Literal["vad"] = "vad"
    state: Literal["speech", "silence"]
    at_s: float


class VoicePartial(VoiceEvent):
    """The question so far; replaces the one told before."""

    type: Literal["partial"] = "partial"
    text: str


class VoiceTranscript(VoiceEvent):
    """The question; `final` once it is complete and asked."""

    type: Literal["transcript"] = "transcript"
    text: str
    final: bool


class Thinking(VoiceEvent):
    """The question is stored, the answer has begun."""

    type: Literal["thinking"] = "thinking"
    message_id: str
    conversation_id: str


class Token(VoiceEvent):
    """More of the answer's text."""

    type: Literal["token"] = "token"
    text: str


class Cited(VoiceEvent):
    """The n-th of an answer is its [n]."""

    type: Literal["citation"] = "citation"
    citation: Citation


class SoundBegins(VoiceEvent):
    """Binary frames follow until `done` or `interrupted`."""

    type: Literal["audio"] = "audio"
    format: Literal["pcm_s16le"] = "pcm_s16le"
    sample_rate_hz: int = SPOKEN_HZ
    channels: int = 1


class Sentence(VoiceEvent):
    """The frames after this speak this sentence."""

    type: Literal["sentence"] = "sentence"
    index: int
    text: str
    """As it is spoken: without marks of citation."""
    at_ms: int
    """Where in the answer's sound it begins."""


class VoiceTimings(Wire):
    """Seconds since the question was complete; None for what did not come to be."""

    first_token_s: float | None = None
    first_audio_s: float | None = None
    text_s: float | None = None
    """When the text was complete."""
    total_s: float = 0.0
    spoken_s: float = 0.0
    """Length of the sound that was sent."""


class Done(VoiceEvent):
    """The answer was told to its end, text and sound."""

    type: Literal["done"] = "done"
    message_id: str
    conversation_id: str
    model: str | None = None
    notice: str | None = None
    timings: VoiceTimings


class Interrupted(VoiceEvent):
    """The answer ends here: throw away the sound that was not played yet."""

    type: Literal["interrupted"] = "interrupted"
    by: Literal["speech", "talk", "button"]
    message_id: str | None = None
    conversation_id: str | None = None
    spoken_ms: int
    """Sound of the answer that was sent."""


class VoiceWarning(VoiceEvent):
    """`no_speech`, `unknown_voice`, `speech_cut`, `nothing_heard` and those of the live stream: the chat goes on."""

    type: Literal["warning"] = "warning"
    code: str
    detail: str


class VoiceFailed(VoiceEvent):
    """What cannot be done, and what to do; the socket closes after it where nothing else can be done."""

    type: Literal["error"] = "error"
    code: str
    detail: str


class VoiceEnd(VoiceEvent):
    type: Literal["end"] = "end"
    conversation_id: str | None = None
    transcript_id: str | None = None
    job_id: str | None = None

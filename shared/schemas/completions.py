"""OpenAI's wire for chat completions, as its API reference has it; what we add is said where it is.

Fields that its clients send routinely and that change nothing here are taken and ignored; any other is refused by name.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema, field_validator, model_validator
from pydantic_core import PydanticCustomError

from shared.schemas.rag import Citation
from shared.schemas.wire import Request, Wire

MemoryMode = Literal["off", "read", "read-write"]
"""Ours, the header `X-Nemo-Memory`: leave the vault alone; answer from it; and keep the exchange in it as well."""
MESSAGES = 512
CHARS = 1_000_000
"""Most characters of all messages together."""
SCHEMA_CHARS = 64 * 1024


def _no(code: str, message: str) -> PydanticCustomError:
    return PydanticCustomError(code, message)


class TextPart(Request):
    type: Literal["text"]
    text: str

    @model_validator(mode="before")
    @classmethod
    def _only_text(cls, part: Any) -> Any:
        if isinstance(part, dict) and part.get("type", "text") != "text":
            raise _no("not_text", "this model reads text only, no images, sound or files")
        return part


def _as_parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


_CONTENT = {"anyOf": [{"type": "string"}, {"type": "array", "items": TextPart.model_json_schema()}]}
Content = Annotated[list[TextPart], Field(max_length=MESSAGES), BeforeValidator(_as_parts), WithJsonSchema(_CONTENT)]
Nothing = Annotated[list[Any], Field(max_length=0)] | None


class ChatMessage(Request):
    """Clients send an answer back as they got it, so its empty fields are taken too."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content
    name: str | None = None
    refusal: str | None = None
    tool_calls: Nothing = None
    annotations: Nothing = None
    function_call: None = None
    audio: None = None

    @field_validator("role", mode="before")
    @classmethod
    def _no_tools(cls, role: Any) -> Any:
        if role in ("tool", "function"):
            raise _no("no_tools", "this model calls no tools; send system, user and assistant messages")
        return role

    @model_validator(mode="before")
    @classmethod
    def _refusal_as_content(cls, message: Any) -> Any:
        """An answer that was a refusal has no content."""
        if isinstance(message, dict) and message.get("content") is None and isinstance(message.get("refusal"), str):
            return message | {"content": message["refusal"]}
        return message

    def text(self) -> str:
        return "\n".join(part.text for part in self.content)


class JsonSchema(Request):
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")] = Field(default_factory=dict)
    strict: bool | None = None

    @field_validator("schema_")
    @classmethod
    def _bounded(cls, schema: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(schema)) > SCHEMA_CHARS:
            raise _no("too_long", f"a schema takes at most {SCHEMA_CHARS} characters")
        return schema


class ResponseFormat(Request):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _whole(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise _no("no_schema", "`json_schema` belongs to the type json_schema, which needs it")
        return self


class StreamOptions(Request):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


def _as_list(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


_STOP = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": 4}]}
Stop = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=200)]],
    Field(max_length=4),
    BeforeValidator(_as_list),
    WithJsonSchema(_STOP),
]
Most = Annotated[int, Field(ge=1, le=1_000_000)]
Penalty = Annotated[float, Field(ge=-2, le=2)]


class CompletionRequest(Request):
    """What a chat is answered with; from `store` on, the fields are taken and ignored."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MESSAGES)]
    max_tokens: Most | None = None
    max_completion_tokens: Most | None = None
    """The newer name of `max_tokens`. Without either, as much as there is room for."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """0.2 where absent."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """0.95 where absent."""
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    """One answer only."""
    stop: Stop | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    response_format: ResponseFormat | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: Nothing = None
    """None: this model calls nothing."""
    functions: Nothing = None
    logprobs: Literal[False] | None = None
    """Not told."""
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    modalities: Annotated[list[Literal["text"]], Field(max_length=1)] | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    parallel_tool_calls: bool | None = None
    tool_choice: Literal["none", "auto"] | None = None
    function_call: Literal["none", "auto"] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=0)] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None

    @field_validator("messages")
    @classmethod
    def _bounded(cls, messages: list[ChatMessage]) -> list[ChatMessage]:
        if sum(len(part.text) for message in messages for part in message.content) > CHARS:
            raise _no("too_long", f"all messages together take at most {CHARS} characters")
        return messages

    @field_validator("max_completion_tokens")
    @classmethod
    def _one_name(cls, most: int | None, fields: Any) -> int | None:
        if most is not None and fields.data.get("max_tokens") is not None:
            raise _no("two_names", "set max_completion_tokens or its older name max_tokens, not both")
        return most

    @field_validator("stream_options")
    @classmethod
    def _only_streamed(cls, options: StreamOptions | None, fields: Any) -> StreamOptions | None:
        if options is not None and not fields.data.get("stream"):
            raise _no("not_streamed", "stream_options go with `stream: true` only")
        return options

    @property
    def most_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def structured(self) -> bool:
        return self.response_format is not None and self.response_format.type != "text"

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)


class TokenUsage(Wire):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class NemoContext(Wire):
    """Ours: what of the vault stands behind the answer. Absent with `X-Nemo-Memory: off`."""

    memory: MemoryMode
    citations: list[Citation]
    """Empty: nothing was found, the answer says so, and the model was not asked."""
    memories: int = 0
    """Passages that the model was shown."""
    memories_left_out: int = 0
    """Passages that were found and did not fit."""
    conversation_id: str | None = None
    """Where a `read-write` exchange is kept."""


Finish = Literal["stop", "length"]


class AnswerMessage(Wire):
    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: str | None = None
    """A structured answer was asked for and the vault holds nothing to make it of."""


class Choice(Wire):
    index: int = 0
    message: AnswerMessage
    logprobs: None = None
    finish_reason: Finish


class Completion(Wire):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    """Unix time."""
    model: str
    choices: list[Choice]
    usage: TokenUsage
    system_fingerprint: str
    nemo: NemoContext | None = None


class Delta(Wire):
    role: Literal["assistant"] | None = None
    content: str | None = None
    refusal: str | None = None


class ChunkChoice(Wire):
    index: int = 0
    delta: Delta
    logprobs: None = None
    finish_reason: Finish | None = None


class CompletionChunk(Wire):
    """One event of a stream; `data: [DONE]` follows the last."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    """Empty in the chunk that tells the usage."""
    usage: TokenUsage | None = None
    system_fingerprint: str
    nemo: NemoContext | None = None

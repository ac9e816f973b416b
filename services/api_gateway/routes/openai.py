"""OpenAI's family: chat, embeddings, audio and models. Errors come in its envelope, as everything below `/v1` does."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response

from services.api_gateway.clients import Clients
from services.api_gateway.relay import relay
from services.api_gateway.routes import Services
from shared.auth.dependencies import CurrentUser
from shared.clients import ServiceClient
from shared.errors import ModelNotFound, ProductError
from shared.lifecycle import GONE, unless_gone
from shared.schemas.completions import Completion, CompletionRequest, MemoryMode
from shared.schemas.embeddings import EmbeddingList, EmbeddingRequest
from shared.schemas.openai import (
    AudioForm,
    AudioText,
    DiarizationAnswer,
    DiarizationForm,
    DiarizedText,
    ModelList,
    VerboseText,
)
from shared.schemas.openai import Model as OpenAiModel
from shared.schemas.wire import Wire

_ERROR = {
    "description": "What is wrong, in OpenAI's envelope.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "error": {
                        "type": "object",
                        "properties": {
                            name: {"type": ["string", "null"]} for name in ("message", "type", "param", "code")
                        },
                    }
                },
            }
        }
    },
}
router = APIRouter(prefix="/v1", tags=["openai"], responses={"4XX": _ERROR, "5XX": _ERROR})


def _form(kind: type[Wire]) -> dict[str, Any]:
    schema = kind.model_json_schema()
    schema["properties"] = {"file": {"type": "string", "format": "binary"}} | schema["properties"]
    schema["required"] = ["file", *schema.get("required", [])]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {"description": "With `stream`: server-sent events of type CompletionChunk, then `data: [DONE]`."}
}


@router.post("/chat/completions", response_model=Completion, responses=_STREAMED)
async def completions(
    asked: CompletionRequest,
    request: Request,
    user: CurrentUser,
    services: Services,
    x_nemo_memory: Annotated[MemoryMode, Header()] = "off",
    x_nemo_conversation: Annotated[str | None, Header()] = None,
) -> Response:
    """The model's own words; `X-Nemo-Memory: read` answers from the caller's memories and cites them in `nemo`.

    `read-write` keeps the exchange as well, in the conversation of `X-Nemo-Conversation` or in a new one. Where
    nothing is found, the answer says so. A client that leaves stops the model.
    """
    body = asked.model_dump_json(exclude_unset=True, by_alias=True).encode()
    answering = relay(services.gemma, request, user, path="/completing/chat", body=body)
    return await unless_gone(request, answering) or Response(status_code=GONE)


@router.post("/embeddings", response_model=EmbeddingList)
async def embeddings(texts: EmbeddingRequest, request: Request, user: CurrentUser, services: Services) -> Response:
    """Vectors of length 1, nothing kept. A text longer than the model reads is refused, not cut."""
    body = texts.model_dump_json(exclude_unset=True).encode()
    return await relay(services.rag, request, user, path="/embedding/texts", body=body)


@router.post(
    "/audio/transcriptions",
    response_model=AudioText | VerboseText | DiarizedText,
    openapi_extra=_form(AudioForm),
)
async def transcriptions(request: Request, user: CurrentUser, services: Services) -> Response:
    """Speech to text, nothing kept; `stream` gives server-sent events."""
    return await relay(services.transcription, request, user, path="/listening/transcriptions")


@router.post("/audio/translations", response_model=AudioText | VerboseText, openapi_extra=_form(AudioForm))
async def translations(request: Request, user: CurrentUser, services: Services) -> Response:
    """Speech of any language to English text, where the model can."""
    return await relay(services.transcription, request, user, path="/listening/translations")


@router.post("/audio/diarization", response_model=DiarizationAnswer, openapi_extra=_form(DiarizationForm))
async def diarization(request: Request, user: CurrentUser, services: Services) -> Response:
    """Ours: who speaks when, without words."""
    return await relay(services.transcription, request, user, path="/listening/diarization")


@router.get("/models")
async def models(user: CurrentUser, services: Services) -> ModelList:
    """The models that are here and can be reached."""
    return ModelList(data=await _models(services))


@router.get("/models/{model_id:path}")
async def model(model_id: str, user: CurrentUser, services: Services) -> OpenAiModel:
    """The id of a model may be its path."""
    for each in await _models(services):
        if each.id == model_id:
            return each
    raise ModelNotFound(f"The model {model_id[:100]!r} is not here; GET /v1/models says what is.")


def _catalogues(services: Clients) -> list[tuple[ServiceClient, str]]:
    """Who has models to name, and where: `GET` there answers a list of them."""
    return [
        (services.gemma, "/completing/models"),
        (services.rag, "/embedding/models"),
        (services.transcription, "/listening/models"),
    ]


async def _models(services: Clients) -> list[OpenAiModel]:
    found = await asyncio.gather(*(_named(client, path) for client, path in _catalogues(services)))
    return [model for models in found for model in models]


async def _named(client: ServiceClient, path: str) -> list[OpenAiModel]:
    """None of a service that does not answer: what cannot be reached cannot be used."""
    try:
        return [OpenAiModel.model_validate(each) for each in await client.json("GET", path, user=None, deadline_s=5)]
    except ProductError:
        return []

"""Vectors of texts as OpenAI's API has them: for no user, nothing is kept."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from functools import partial

import numpy as np
from fastapi import APIRouter, Request, Response

from services.rag.engines import Capabilities, Vectors
from services.rag.routes import TheLibrary
from services.rag.settings import Settings
from shared.auth.dependencies import FromService
from shared.errors import Invalid, ModelNotFound
from shared.schemas.embeddings import Embedding, EmbeddingList, EmbeddingRequest, EmbeddingUsage
from shared.schemas.openai import Model
from shared.schemas.problem import FieldError

router = APIRouter(prefix="/embedding")


@router.get("/models")
async def models(request: Request, library: TheLibrary, caller: FromService) -> list[Model]:
    settings: Settings = request.app.state.settings
    folder = settings.models_dir / library.able.model
    created = int(folder.stat().st_mtime) if folder.is_dir() else 0
    return [Model(id=library.able.model, created=created)]


@router.post("/texts", response_model=EmbeddingList)
async def texts(asked: EmbeddingRequest, library: TheLibrary, caller: FromService) -> Response:
    """In the order of the texts. Raises ModelNotFound, and Invalid where a text is longer than the model reads."""
    _check(asked, library.able)
    lengths = await library.lengths(asked.input)
    _check_lengths(lengths, library.able)
    vectors = await library.embed(asked.input)
    shaped = partial(_shaped, vectors, asked.encoding_format == "base64", library.able.model, sum(lengths))
    return Response(await asyncio.to_thread(shaped), media_type="application/json")  # it may be some megabytes


def _check(asked: EmbeddingRequest, able: Capabilities) -> None:
    if asked.model != able.model:  # vectors of two models have nothing in common, so no other name stands for ours
        detail = f"The model {asked.model[:100]!r} is not here; this server embeds with {able.model!r}."
        raise ModelNotFound(detail, errors=[FieldError(pointer="/model", detail="not here")])
    if asked.dimensions not in (None, able.dimensions):
        detail = f"The vectors of {able.model} have {able.dimensions} dimensions; leave `dimensions` out."
        raise Invalid(detail, errors=[FieldError(pointer="/dimensions", detail="not this model's number")])


def _check_lengths(lengths: Sequence[int], able: Capabilities) -> None:
    for at, length in enumerate(lengths):
        if length > able.max_tokens:
            detail = f"The text at index {at} is {length} tokens long; {able.model} reads {able.max_tokens}. Split it."
            raise Invalid(detail, errors=[FieldError(pointer=f"/input/{at}", detail="too long")])


def _shaped(vectors: Vectors, as_base64: bool, model: str, tokens: int) -> str:
    data = [Embedding(index=at, embedding=_one(row, as_base64)) for at, row in enumerate(vectors)]
    usage = EmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens)
    return EmbeddingList(data=data, model=model, usage=usage).model_dump_json()


def _one(vector: Vectors, as_base64: bool) -> list[float] | str:
    if as_base64:
        return base64.b64encode(np.ascontiguousarray(vector, dtype="<f4").tobytes()).decode()
    found: list[float] = vector.tolist()
    return found

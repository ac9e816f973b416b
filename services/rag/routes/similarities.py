"""How alike texts are, for those who have no embedder."""

from __future__ import annotations

from fastapi import APIRouter

from services.rag.routes import TheLibrary
from shared.auth.dependencies import ForUser
from shared.schemas.rag import SimilarityRequest

router = APIRouter(prefix="/rag")


@router.post("/similarities")
async def similarities(request: SimilarityRequest, user: ForUser, library: TheLibrary) -> list[list[float]]:
    """Cosine of each text with each of the others; nothing is kept."""
    return await library.similarities(request.texts, request.others)

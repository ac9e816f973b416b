"""The emotion service as others see it."""

from __future__ import annotations

from collections.abc import Sequence

from shared.auth.principal import Principal
from shared.clients import ServiceClient
from shared.schemas.emotion import EmotionAnalysis, EmotionBatch


class EmotionClient(ServiceClient):
    service = "emotion"

    async def batch(self, user: Principal, texts: Sequence[str]) -> EmotionBatch:
        """One analysis per text; at most 256 texts of 20,000 characters."""
        body = {"texts": list(texts)}
        return EmotionBatch.model_validate(
            await self.json("POST", "/emotion/batch", user=user, body=body, deadline_s=120)
        )

    async def analyze(self, user: Principal, text: str) -> EmotionAnalysis:
        found = await self.json("POST", "/emotion/analyze", user=user, body={"text": text})
        return EmotionAnalysis.model_validate(found)

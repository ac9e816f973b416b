"""The text to speech service as others see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.auth.principal import Principal
from shared.clients import ServiceClient
from shared.schemas.tts import SpeechRequest, VoiceList

PATH = "/speaking/speech"


class TtsClient(ServiceClient):
    service = "tts"

    @asynccontextmanager
    async def speech(self, user: Principal, request: SpeechRequest) -> AsyncIterator[AsyncIterator[bytes]]:
        """The encoded sound as it is made; leaving the block early stops the work."""
        body = request.model_dump_json().encode()
        headers = {"Content-Type": "application/json"}
        async with self.stream("POST", PATH, user=user, content=body, headers=headers) as answer:
            yield answer.content.iter_any()

    async def voices(self, user: Principal) -> VoiceList:
        return VoiceList.model_validate(await self.json("GET", "/speaking/voices", user=user))

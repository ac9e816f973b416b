"""One client per service behind the gateway."""

from __future__ import annotations

from shared.auth.service_tokens import ServiceIdentity
from shared.clients import ServiceClient
from shared.clients.emotion import EmotionClient
from shared.clients.gemma import GemmaClient
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.clients.rag import RagClient
from shared.clients.transcription import TranscriptionClient
from shared.clients.tts import TtsClient
from shared.settings import ServiceSettings


class Clients:
    """All services; close it with the process."""

    def __init__(self, settings: ServiceSettings, identity: ServiceIdentity) -> None:
        self.transcription = TranscriptionClient(settings, identity)
        self.rag = RagClient(settings, identity)
        self.gemma = GemmaClient(settings, identity)
        self.emotion = EmotionClient(settings, identity)
        self.tts = TtsClient(settings, identity)
        self.coordinator = CoordinatorClient(settings, identity)

    def all(self) -> list[ServiceClient]:
        return [self.gemma, self.coordinator, self.transcription, self.rag, self.emotion, self.tts]

    async def close(self) -> None:
        for client in self.all():
            await client.close()

"""/metrics of a service: for the platform's services, and for the collector that holds the scrape token."""

from __future__ import annotations

import httpx
import pytest
from pydantic import SecretStr

from shared.auth.service_tokens import trust_for_tests
from shared.service import create_service
from shared.settings import ServiceSettings

TOKEN = "s" * 40


@pytest.mark.parametrize(
    ("token", "given", "status"),
    [
        (TOKEN, f"Bearer {TOKEN}", 200),
        (TOKEN, f"Bearer {TOKEN}x", 401),
        (TOKEN, "Bearer ünicode", 401),
        (TOKEN, None, 401),
        (None, f"Bearer {TOKEN}", 401),
        (None, "Bearer ", 401),
    ],
)
async def test_the_scrape_token_opens_the_metrics_and_nothing_else_does(
    token: str | None, given: str | None, status: int
) -> None:
    app = create_service("rag", ServiceSettings(scrape_token=SecretStr(token) if token else None), routers=[])
    signed = trust_for_tests(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://rag") as client:
        answer = await client.get("/metrics", headers=[("Authorization", given.encode())] if given else [])
        assert answer.status_code == status
        assert (await client.get("/metrics", headers=signed())).status_code == 200

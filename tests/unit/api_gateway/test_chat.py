"""Questions that are refused at the door, before any service is asked."""

from __future__ import annotations

from pathlib import Path

from tests.gateway_house import bearer, gateway, join, settings_for, started


async def test_a_message_of_a_megabyte_is_refused_with_its_limit(tmp_path: Path) -> None:
    async with started(gateway(settings_for(tmp_path))) as http:
        headers = bearer(await join(http))
        answer = await http.post("/gemma/chat", json={"message": "a " * 500_000}, headers=headers)
        assert answer.status_code in (413, 422)
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        told = problem["detail"] + " ".join(each["detail"] for each in problem.get("errors", []))
        assert "32000" in told.replace(",", "") and "a a a" not in answer.text


async def test_an_empty_message_is_refused(tmp_path: Path) -> None:
    async with started(gateway(settings_for(tmp_path))) as http:
        headers = bearer(await join(http))
        answer = await http.post("/gemma/chat", json={"message": "  \n "}, headers=headers)
        assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == "/message"

"""Summaries through the gateway: what is asked for reaches the service, what it answers reaches the client."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from shared.schemas.ids import new_id
from shared.schemas.summaries import SummaryRequest
from tests.gateway_house import bearer, behind, gateway, join, served, settings_for, started


async def test_a_summary_may_be_asked_for_without_a_body(tmp_path: Path) -> None:
    service, name = FastAPI(), new_id("rec")

    @service.post("/transcription/{transcript_id}/summary")
    async def summarise(transcript_id: str, wait_s: float, request: SummaryRequest | None = None) -> Response:
        told = {"transcript_id": transcript_id, "wait_s": wait_s, "mode": request.mode if request else None}
        return JSONResponse(told, 202, headers={"Location": "/jobs/job_1"})

    async with served(service) as url, started(gateway(settings_for(tmp_path, **behind(url)))) as http:
        headers = bearer(await join(http))
        path = f"/transcription/{name}/summary"
        answer = await http.post(path, params={"wait_s": 3}, headers=headers)
        assert (answer.status_code, answer.headers["location"]) == (202, "/jobs/job_1")
        assert answer.json() == {"transcript_id": name, "wait_s": 3.0, "mode": "extractive"}
        worded = await http.post(path, params={"wait_s": 0}, json={"mode": "model"}, headers=headers)
        assert worded.json()["mode"] == "model"
        for wrong in ({"prompt": "only jokes"}, {"mode": "poem"}, {"mode": "model", "prompt": "x" * 501}):
            refused = await http.post(path, json=wrong, headers=headers)
            assert refused.status_code == 422 and refused.headers["content-type"] == "application/problem+json"

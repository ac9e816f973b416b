"""A holder as a process of its own: the real supervisor, the real worker, a model of the fake device.

    python -m tests.integration.gpu_holder <name> <device file> <bytes> [<bytes it really takes>] [deaf]

Takes lines of JSON: {"id", "tokens", "seconds"} is a chat of so many tokens; it answers with lines of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from shared.auth.service_tokens import ServiceIdentity
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.errors import ProductError
from shared.gpu.holder import Holder
from shared.gpu.supervisor import ModelChild
from shared.gpu.worker import TaskContext, TaskWorker
from shared.lifecycle import background
from shared.settings import ServiceSettings
from shared.storage.redis import RedisStore


class Speech:
    """Background work in parts, each durable before the next; a part never counts twice."""

    def __init__(self, holder: Holder, model: ModelChild, folder: Path) -> None:
        self._holder, self._model, self._folder = holder, model, folder

    async def run(self, context: TaskContext) -> dict[str, Any]:
        payload, path = context.task.payload, self._folder / f"{context.task.task_id}.parts"
        done = path.read_text().splitlines() if path.exists() else []
        for part in range(len(done), payload["parts"]):
            await context.progress("speech", 100 * part / payload["parts"], cursor={"part": part})
            async with self._holder.in_background():
                heard = await self._model.call("work", part=part, seconds=payload["seconds"])
            with path.open("a") as file:
                file.write(heard + "\n")
            done.append(heard)
        return {"text": "; ".join(done)}


async def chat(holder: Holder, model: ModelChild, ask: dict[str, Any]) -> None:
    """Every token once, however often the model is taken away in between."""
    began, first_ms, text, paused = time.monotonic(), None, "", 0
    count = 0
    try:
        while count < ask["tokens"]:
            async with holder.use(most_s=ask.get("most_s", 60)):
                stream = model.stream("write", count=ask["tokens"], seconds=ask["seconds"], first=count)
                try:
                    async for piece in stream:
                        first_ms = first_ms or (time.monotonic() - began) * 1000
                        text, count = text + piece, count + 1
                        if holder.must_yield:
                            paused += 1
                            break
                except ProductError:
                    paused += 1
                finally:
                    await stream.aclose()
        say({"id": ask["id"], "text": text, "first_ms": first_ms, "paused": paused})
    except ProductError as error:
        say({"id": ask["id"], "error": error.code, "detail": error.detail})


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def main(name: str, device: str, size: int, really: int, *, deaf: bool) -> None:
    settings = ServiceSettings()
    identity = ServiceIdentity.from_settings(name, settings)
    model = ModelChild("shared.gpu.fake:open_model", {"device_file": device, "bytes": really}, name=name)
    model.used_bytes = lambda: really if model.alive and holder.holds else 0  # type: ignore[method-assign]
    async with CoordinatorClient(settings, identity) as client:
        events = None if deaf else RedisStore(settings.redis_dsn())
        kinds = ["speech"] if name == "transcription" else []
        holder = Holder(name, client, model, bytes_resident=size, kinds=kinds, device_kind="fake", events=events)
        speech = Speech(holder, model, settings.data_dir)
        worker = TaskWorker(client, {"speech": speech.run}, name, holder=holder)
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        work = [holder.run(), worker.run()] if kinds else [holder.run()]
        async with background(*work):
            chats = set()
            while line := await lines.readline():
                ask = json.loads(line)
                if ask.get("do") == "pid":
                    say({"id": ask["id"], "pid": model.pid})
                else:
                    chats.add(asyncio.create_task(chat(holder, model, ask)))


if __name__ == "__main__":
    sizes = [int(each) for each in sys.argv[3:] if each.isdigit()]
    asyncio.run(main(sys.argv[1], sys.argv[2], sizes[0], sizes[-1], deaf="deaf" in sys.argv))

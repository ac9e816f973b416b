#!/usr/bin/env python3
"""Text to speech beside the bare engine: the same piper command line, fed by hand.

    python scripts/bench/tts.py [--rounds 7]

Both are warm. Ours goes over a socket, through service tokens, sentence by sentence, into the format asked for; the
bare one gets the whole text as one line and answers bare samples. Rounds alternate; the ratios are of each round.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn
from figures import Figure, ratio, tell

from services.tts.app import create_app
from services.tts.engines.piper import Piper
from services.tts.settings import Settings
from shared.auth.principal import Principal
from shared.auth.service_tokens import ServiceDoor, ServiceIdentity
from shared.clients.tts import TtsClient
from shared.schemas.tts import SpeechFormat, SpeechRequest

USER = Principal("usr_01J00000000000000000000000")
TEXT = (
    "You asked about the meeting on Tuesday. It begins at nine o'clock in the large room behind the kitchen. Anna will "
    "bring the report about the river, and Peter promised to find the keys of the old house. Nobody said who pays for "
    "the coffee. The last time, as far as I can tell, it was you. Shall I remind you on Monday evening?"
)
PORT = 18_407
BYTES_A_S = {"bare": 22_050 * 2, "ours": 24_000 * 2}
QUIET_S = 0.7


@dataclass(frozen=True)
class Run:
    """Seconds; `audio_s` is what was spoken."""

    first_s: float
    whole_s: float
    audio_s: float

    @property
    def factor(self) -> float:
        return self.whole_s / self.audio_s


def bare(engine: Piper) -> Run:
    """A process of its own, warm after one word, timed until it has ended."""
    command = [engine._python, "-I", "-m", "piper", "--output-raw", "--model", str(engine._models["joe"])]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None and process.stdout is not None
    out = process.stdout.fileno()
    os.write(process.stdin.fileno(), b"Hello.\n")
    os.read(out, 65_536)
    while select.select([out], [], [], QUIET_S)[0]:
        os.read(out, 65_536)
    began, size = time.perf_counter(), 0
    os.write(process.stdin.fileno(), TEXT.encode() + b"\n")
    process.stdin.close()
    first_s = 0.0
    while piece := os.read(out, 65_536):
        first_s = first_s or time.perf_counter() - began
        size += len(piece)
    whole_s = time.perf_counter() - began
    process.wait()
    return Run(first_s, whole_s, size / BYTES_A_S["bare"])


async def ours(client: TtsClient, form: SpeechFormat, audio_s: float | None = None) -> Run:
    """`audio_s` where the format does not tell it by its size."""
    began, size, first_s = time.perf_counter(), 0, 0.0
    async with client.speech(USER, SpeechRequest(input=TEXT, response_format=form)) as pieces:
        async for piece in pieces:
            first_s = first_s or time.perf_counter() - began
            size += len(piece)
    return Run(first_s, time.perf_counter() - began, audio_s or size / BYTES_A_S["ours"])


@asynccontextmanager
async def service(engine: Piper) -> AsyncIterator[TtsClient]:
    identities = ServiceIdentity.ephemeral()
    settings = Settings(pause_s=0, tts_url=f"http://127.0.0.1:{PORT}")
    app = create_app(settings, engine=engine)
    app.state.identity, app.state.door = identities["tts"], ServiceDoor(identities["tts"], None)
    server = uvicorn.Server(uvicorn.Config(app, port=PORT, log_config=None))
    running = asyncio.create_task(server.serve())
    while not server.started:
        assert not running.done(), "the service did not start"
        await asyncio.sleep(0.02)
    async with TtsClient(settings, identities["api-gateway"]) as client:
        yield client
    server.should_exit = True
    await running


def memory_mib(pid: int) -> float:
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


def about(runs: Sequence[Run]) -> str:
    factors = statistics.median(run.factor for run in runs)
    return f"real-time factor {factors:.3f}, first audio {statistics.median(run.first_s for run in runs):.2f} s"


async def measure(rounds: int) -> list[Figure]:
    engine = Piper(Settings())
    async with service(engine) as client:
        cold = await ours(client, "pcm")
        bares, pcms, opuses = [], [], []
        for _ in range(rounds):
            bares.append(await asyncio.to_thread(bare, engine))
            pcms.append(await ours(client, "pcm"))
            opuses.append(await ours(client, "opus", pcms[-1].audio_s))
        assert engine._process is not None
        held_mib = memory_mib(engine._process.pid)
    detail = (
        f"bare: {about(bares)}; ours: {about(pcms)}; {rounds} interleaved rounds of {bares[0].audio_s:.0f} s of speech"
    )
    of_bare, of_ours = [run.factor for run in bares], [run.factor for run in pcms]
    return [
        Figure("tts: real-time factor of piper, bare / ours", ratio(of_bare, of_ours), ">= 0.9", detail),
        Figure(
            "tts: the same with Opus as the format",
            ratio(of_bare, [run.factor for run in opuses]),
            "",
            f"ours: {about(opuses)}",
        ),
        Figure(
            "tts: time to first audio, bare / ours",
            ratio([run.first_s for run in bares], [run.first_s for run in pcms]),
            ">= 0.9",
            detail,
        ),
        Figure(
            "tts: time to first audio / time of the whole answer",
            ratio([run.first_s for run in pcms], [run.whole_s for run in pcms]),
            "",
            f"with a cold voice the first audio took {cold.first_s:.1f} s; a warm one holds {held_mib:.0f} MiB",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    tell(asyncio.run(measure(arguments.rounds)))


if __name__ == "__main__":
    sys.exit(main())

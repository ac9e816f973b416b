#!/usr/bin/env python3
"""A hundred users at once on the running platform: lists, searches, memories, chats, uploads of ten seconds, sign-ins.

    python scripts/bench/mixed_load.py [--users 100] [--seconds 300]

Each user signs in and then does one thing after another with a pause between, drawn from a seed. An answer of 429 or
503 with `Retry-After` is counted apart and honoured; everything else that is no success is an error. Half-way the key
of access tokens is rotated. At the end every recording that was acknowledged has to be completed and every memory has
to be found. Clients and platform share the machine; how much of it others took is part of the result.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import soundfile
from figures import ROOT, Figure, p, tell
from start import SETTLE_S, family, pss_mib

from tests.conftest import AUDIO, Platform

SEED = 20261121
THINK_S = 10.0
"""Mean of the pauses, which are exponential: somebody reads."""
DEADLINE_S = 60
TRIES = 8
WEIGHTS = {"list": 45, "search": 30, "remember": 12, "sign in": 6, "chat": 4, "upload": 3}
PASSWORD = "a long enough pass phrase"


@dataclass
class Seen:
    """What the clients saw."""

    took_s: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    later: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    recordings: list[tuple[int, str]] = field(default_factory=list)
    memories: list[tuple[int, str, str]] = field(default_factory=list)


class Refused(Exception):
    """No success, also after the pauses that were asked for."""


class User:
    """One of the hundred."""

    def __init__(self, number: int, http: aiohttp.ClientSession, clip: bytes, seen: Seen) -> None:
        self._number, self._http, self._clip, self._seen = number, http, clip, seen
        self._draw, self._count = random.Random(SEED + number), 0
        self._token = ""

    async def call(self, kind: str, method: str, path: str, **more: Any) -> Any:
        """The JSON of the answer. Time is that of the try that succeeded; raises Refused."""
        for _ in range(TRIES):
            headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
            began = time.perf_counter()
            data = more.pop("form", None)
            try:
                async with self._http.request(method, path, headers=headers, data=data and data(), **more) as answer:
                    body = await answer.json(content_type=None)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                self._seen.errors[f"{kind}: {type(error).__name__}"] += 1
                raise Refused from error
            finally:
                if data is not None:
                    more["form"] = data
            if answer.status < 400:
                self._seen.took_s[kind].append(time.perf_counter() - began)
                return body
            if answer.status in (429, 503) and "Retry-After" in answer.headers:
                self._seen.later[kind] += 1
                await asyncio.sleep(int(answer.headers["Retry-After"]))
                continue
            self._seen.errors[f"{kind}: {answer.status} {(body or {}).get('code')}"] += 1
            raise Refused
        self._seen.errors[f"{kind}: still busy after {TRIES} tries"] += 1
        raise Refused

    async def register(self) -> None:
        await self.call("register", "POST", "/auth/register", json=self._who())
        await self.sign_in()

    def _who(self) -> dict[str, str]:
        return {"username": f"user{self._number}", "password": PASSWORD}

    async def sign_in(self) -> None:
        self._token = (await self.call("sign in", "POST", "/auth/login", json=self._who()))["access_token"]

    async def act(self, until: float) -> None:
        work = {
            "list": lambda: self.call("list", "GET", "/transcription/recent"),
            "search": lambda: self.call("search", "POST", "/rag/search", json={"query": "which jar is on the shelf?"}),
            "remember": self._remember,
            "sign in": self.sign_in,
            "chat": lambda: self.call(
                "chat", "POST", "/gemma/chat", json={"message": "What is on the shelf of the cellar?", "max_tokens": 24}
            ),
            "upload": self._upload,
        }
        while True:
            pause_s = self._draw.expovariate(1 / THINK_S)
            if time.monotonic() + pause_s > until:
                return
            await asyncio.sleep(pause_s)
            kind = self._draw.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            try:
                await work[kind]()
            except Refused:
                continue

    async def _remember(self) -> None:
        self._count += 1
        content = f"Shelf {self._count} of cellar {self._number} holds jar {self._draw.randrange(10**6)}."
        made = await self.call("remember", "POST", "/rag/memory", json={"content": content})
        self._seen.memories.append((self._number, made["memory_id"], content))

    async def _upload(self) -> None:
        def form() -> aiohttp.FormData:
            made = aiohttp.FormData()
            made.add_field("file", self._clip, filename="ten seconds.wav", content_type="audio/wav")
            return made

        made = await self.call("upload", "POST", "/transcription/upload", form=form, params={"wait_s": "0"})
        self._seen.recordings.append((self._number, made["transcript_id"]))

    # -- afterwards

    async def ended(self, transcript_id: str, deadline: float) -> str:
        """`completed` with its words, `wrong` without them, `failed`, or what it still is at the deadline."""
        while True:
            found = await self.call("look", "GET", f"/transcription/{transcript_id}")
            if found["status"] == "completed":
                return "completed" if "country" in found["text"].lower() else "wrong"
            if found["status"] == "failed" or time.monotonic() > deadline:
                return str(found["status"])
            await asyncio.sleep(2)

    async def found(self, memory_id: str, content: str) -> bool:
        """Under its id, and by search among the first ten."""
        same = (await self.call("look", "GET", f"/rag/memory/{memory_id}"))["content"] == content
        hits = await self.call("look", "POST", "/rag/search", json={"query": content, "top_k": 10})
        return bool(same and memory_id in {each["metadata"]["memory_id"] for each in hits})


def ten_seconds() -> bytes:
    sound, rate_hz = soundfile.read(AUDIO / "jfk.flac")
    into = io.BytesIO()
    soundfile.write(into, sound[: 10 * rate_hz], rate_hz, format="WAV")
    return into.getvalue()


def cpu_s(pids: list[int]) -> float:
    """Processor time that these have had."""
    ticks = 0
    for pid in pids:
        try:
            parts = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += int(parts[11]) + int(parts[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def rotate(platform: Platform, after_s: float) -> int:
    await asyncio.sleep(after_s)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services", "rotate", "jwt"),
        cwd=ROOT, env=os.environ | {"DATA_DIR": str(platform.data_dir)}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return await process.wait()


async def checked(work: list[Any]) -> list[Any]:
    """So many at once that the platform has something to do, and no more."""
    gate = asyncio.Semaphore(8)

    async def one(each: Any) -> Any:
        async with gate:
            try:
                return await each
            except Refused:
                return None

    return list(await asyncio.gather(*(one(each) for each in work)))


async def run(platform: Platform, args: argparse.Namespace) -> list[Figure]:
    assert platform.pid is not None
    await asyncio.sleep(SETTLE_S)
    pids = family(platform.pid)
    idle_mib, load_before = sum(map(pss_mib, pids)), os.getloadavg()[0]
    seen, clip = Seen(), ten_seconds()
    timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
    async with aiohttp.ClientSession(platform.url, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
        users = [User(number, http, clip, seen) for number in range(args.users)]
        for user in users:  # one after another: this is not what is measured
            await user.register()
        seen.took_s.clear()
        seen.errors.clear()
        busy_s, began = cpu_s([os.getpid(), *pids]), time.monotonic()
        until = began + args.seconds
        rotating = asyncio.create_task(rotate(platform, args.seconds / 2))
        await asyncio.gather(*(user.act(until) for user in users))
        lasted_s = time.monotonic() - began
        share = (cpu_s([os.getpid(), *family(platform.pid)]) - busy_s) / (lasted_s * (os.cpu_count() or 1))
        full_mib, load_after = sum(map(pss_mib, family(platform.pid))), os.getloadavg()[0]
        rotated = await rotating
        during, errors, later = {k: list(v) for k, v in seen.took_s.items()}, Counter(seen.errors), Counter(seen.later)
        last = time.monotonic() + args.drain
        done = Counter(await checked([users[n].ended(each, last) for n, each in seen.recordings]))
        drained_s = time.monotonic() - began - lasted_s
        kept = await checked([users[n].found(each, content) for n, each, content in seen.memories])
    ok, bad = sum(map(len, during.values())), sum(errors.values())
    around = (
        f"load of the machine {load_before:.1f} before and {load_after:.1f} after; platform and clients got {share:.0%}"
        f" of its {os.cpu_count()} cores; bcrypt {args.bcrypt_rounds} rounds"
    )
    refused = sum(count for name, count in errors.items() if "401" in name)
    return [
        Figure(
            f"{args.users} users, mixed, {args.seconds} s: calls that failed / all",
            round(bad / max(1, ok + bad), 5), "0",
            f"{ok} calls of {lasted_s:.0f} s; errors: {dict(errors) or 'none'}; {around}",
        ),
        Figure(
            "answers of 429 and 503 with Retry-After, honoured / all", round(sum(later.values()) / max(1, ok), 4), "",
            f"{dict(later) or 'none'}",
        ),
        Figure(
            "acknowledged uploads that ended as completed with their words",
            round(done["completed"] / max(1, len(seen.recordings)), 4),
            "1",
            f"{dict(done)} of {len(seen.recordings)}; looked at until {drained_s:.0f} s after the load",
        ),
        Figure(
            "acknowledged memories that are found by id and by search",
            round(sum(map(bool, kept)) / max(1, len(kept)), 4),
            "1",
            f"{sum(map(bool, kept))} of {len(kept)}",
        ),
        Figure(
            "key of access tokens rotated under this load: calls refused with 401", refused, "0",
            f"`nemo rotate jwt` ended with {rotated}",
        ),
        *(
            Figure(
                f"{kind}: p99 / p50", round(p(took, 0.99) / p(took, 0.5), 2), "",
                f"{len(took)} calls; p50 {p(took, 0.5) * 1000:.0f} ms, p99 {p(took, 0.99) * 1000:.0f} ms",
            )
            for kind, took in sorted(during.items())
        ),
        Figure("memory after this load / idle, all processes (PSS)", round(full_mib / idle_mib, 2), "",
               f"{idle_mib:.0f} MiB idle, {full_mib:.0f} MiB after"),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument(
        "--drain", type=int, default=1200, help="seconds that recordings have to be completed afterwards"
    )
    parser.add_argument("--bcrypt-rounds", type=int, default=12, help="cost of a sign-in; 12 as shipped")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nemo-bench-") as folder:
        Path(folder).chmod(0o711)
        platform = Platform(Path(folder) / "data")
        # As shipped, but for the limits that count by address: these users share one.
        platform.more = {"API_GATEWAY_BCRYPT_ROUNDS": str(args.bcrypt_rounds), "API_GATEWAY_VAULT_MEMORY_KIB": "65536"}
        platform.start()
        try:
            tell(asyncio.run(run(platform, args)))
        finally:
            platform.stop()


if __name__ == "__main__":
    main()

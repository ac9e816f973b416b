#!/usr/bin/env python3
"""A proxied call through the gateway (token, account and rate limit checked) beside nginx before the same backend.

    python scripts/bench/gateway.py [--rounds 7] [--seconds 4] [--connections 32]

Both have one process and the same backend: a FastAPI application on uvicorn that answers one memory as JSON. The rounds
alternate. Needs `wrk` and `nginx` (Debian: wrk, nginx-light).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
from figures import ROOT, Figure, ratio, tell

from services.cli import keys
from services.cli.embedded import EmbeddedPostgres, EmbeddedRedis
from tests.conftest import free_ports

BACKEND = """
from datetime import UTC, datetime
from fastapi import FastAPI, Request
app = FastAPI()
AT = datetime.now(UTC)
@app.get("/rag/memory/{memory_id}")
async def memory(memory_id: str, request: Request):
    request.headers.get("authorization")
    return {"memory_id": memory_id, "content": "The spare key is under the blue flower pot.", "title": "Keys",
            "tags": ["home"], "memory_type": "note", "occurred_at": AT, "created_at": AT, "updated_at": AT,
            "revision": 1}
"""
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  upstream backend {{ server 127.0.0.1:{backend}; keepalive 64; }}
  server {{ listen 127.0.0.1:{port};
    location / {{ proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
}}
"""


@contextlib.asynccontextmanager
async def servers(folder: Path) -> AsyncIterator[dict[str, str]]:
    """Embedded PostgreSQL and Redis; the addresses."""
    started, addresses = [], {}
    try:
        for name, kind in (("DATABASE_URL", EmbeddedPostgres), ("REDIS_URL", EmbeddedRedis)):
            server = kind(folder / name, secrets.token_urlsafe(16))
            await server.prepare()
            child = server.child()
            started.append(
                (subprocess.Popen(child.command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT), child)
            )
            while not await child.ready():
                await asyncio.sleep(0.05)
            addresses[name] = server.url
        yield addresses
    finally:
        for process, child in started:
            process.send_signal(child.stop_signal)
            process.wait(20)


@contextlib.contextmanager
def running(command: list[str], **more: object) -> object:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, **more)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=2).status_code < 500:
                return
        time.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


def load(url: str, token: str, args: argparse.Namespace) -> dict[str, float]:
    """Requests per second and latencies in ms, by wrk."""
    command = ["wrk", "-t1", f"-c{args.connections}", f"-d{args.seconds}s", "--latency", "-H"]
    told = subprocess.run([*command, f"Authorization: Bearer {token}", url], capture_output=True, text=True, check=True)
    if "Non-2xx" in told.stdout:
        raise SystemExit(told.stdout)
    unit = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    found = {"rps": float(re.search(r"Requests/sec:\s+([\d.]+)", told.stdout)[1])}  # type: ignore[index]
    for part in ("50", "99"):
        value, name = re.search(rf"{part}%\s+([\d.]+)(us|ms|s)", told.stdout).groups()  # type: ignore[union-attr]
        found[f"p{part}"] = float(value) * unit[name]
    return found


async def run(args: argparse.Namespace, folder: Path) -> list[Figure]:
    for tool in ("wrk", "nginx"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is not here (Debian: apt-get install wrk nginx-light)")
    gateway, backend, nginx = (free_ports(3) + n for n in range(3))
    keys.ensure(folder / "secrets", folder)
    (folder / "backend.py").write_text(BACKEND)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=nginx, backend=backend))
    async with servers(folder) as addresses:
        with contextlib.ExitStack() as stack:
            environment = (
                os.environ
                | addresses
                | keys.of_service("api-gateway", folder / "secrets")
                | {
                    "DATA_DIR": str(folder),
                    "RAG_URL": f"http://127.0.0.1:{backend}",
                    "API_GATEWAY_PORT": str(gateway),
                    "API_GATEWAY_REQUESTS_PER_MINUTE": "100000000",
                }
            )
            uvicorn = [sys.executable, "-m", "uvicorn", "backend:app", "--port", str(backend), "--no-access-log"]
            stack.enter_context(running(uvicorn, cwd=folder))
            stack.enter_context(running(["nginx", "-c", str(folder / "nginx.conf")]))
            command = [sys.executable, "-m", "services", "run", "api-gateway"]
            stack.enter_context(running(command, cwd=ROOT, env=environment))
            for port in (gateway, backend, nginx):
                wait_for(f"http://127.0.0.1:{port}/live")
            body = {"username": "bench", "password": "a long enough pass phrase"}
            httpx.post(f"http://127.0.0.1:{gateway}/auth/register", json=body).raise_for_status()
            token = httpx.post(f"http://127.0.0.1:{gateway}/auth/login", json=body).json()["access_token"]
            rows: dict[str, list[dict[str, float]]] = {"gateway": [], "nginx": [], "backend": []}
            for _ in range(args.rounds):
                for name, port in (("gateway", gateway), ("nginx", nginx), ("backend", backend)):
                    url = f"http://127.0.0.1:{port}/rag/memory/mem_01J00000000000000000000000"
                    rows[name].append(await asyncio.to_thread(load, url, token, args))
    del addresses
    best = {name: sorted(each, key=lambda row: row["rps"])[len(each) // 2] for name, each in rows.items()}
    detail = "; ".join(
        f"{name} {row['rps']:.0f}/s, p50 {row['p50']:.1f} ms, p99 {row['p99']:.1f} ms" for name, row in best.items()
    )
    rates = {name: [row["rps"] for row in each] for name, each in rows.items()}
    what = "proxied call through the gateway / nginx before the same backend, requests per second"
    return [Figure(what, ratio(rates["gateway"], rates["nginx"]), ">= 0.3", f"{detail} (the median rounds)")]


Rounds = Callable[[argparse.Namespace, Path], Coroutine[Any, Any, list[Figure]]]


def main(told: str | None = __doc__, run: Rounds = run) -> None:
    """`told`: the help; `run`: the rounds. Other scripts that measure under this load give their own."""
    parser = argparse.ArgumentParser(description=told, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=32)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nemo-bench-") as folder:
        Path(folder).chmod(0o711)  # the embedded PostgreSQL and nginx run as other users where we are root
        tell(asyncio.run(run(args, Path(folder))))


if __name__ == "__main__":
    main()

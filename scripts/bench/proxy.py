#!/usr/bin/env python3
"""The gateway through docker/proxy/nginx.conf, with TLS, beside the gateway alone: requests a second and latencies.

    python scripts/bench/proxy.py [--rounds 7] [--seconds 4] [--connections 32]

The rounds alternate, on the same gateway with the same token. `/auth/me` is answered by the gateway itself: the token,
the account and the rate limit are checked. Needs `wrk` and `nginx` (Debian: wrk, nginx-light).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import statistics
import sys
from pathlib import Path

import httpx
from figures import ROOT, Figure, ratio
from gateway import load, main, running, servers, wait_for

from services.cli import keys
from tests.conftest import free_ports
from tests.nginx_house import ABSENT, NGINX, Nginx

Rows = dict[str, list[dict[str, float]]]


async def run(args: argparse.Namespace, folder: Path) -> list[Figure]:
    if shutil.which("wrk") is None or NGINX is None:
        raise SystemExit(f"wrk is not here, or {ABSENT}")
    port = free_ports(1)
    keys.ensure(folder / "secrets", folder)
    async with servers(folder) as addresses:
        with contextlib.ExitStack() as stack:
            told = {
                "DATA_DIR": str(folder),
                "API_GATEWAY_PORT": str(port),
                "API_GATEWAY_REQUESTS_PER_MINUTE": "100000000",
                "TRUSTED_PROXIES": "127.0.0.1",
            }
            environment = os.environ | addresses | keys.of_service("api-gateway", folder / "secrets") | told
            stack.enter_context(
                running([sys.executable, "-m", "services", "run", "api-gateway"], cwd=ROOT, env=environment)
            )
            wait_for(f"http://127.0.0.1:{port}/live")
            nginx = Nginx(folder / "prefix", [f"127.0.0.1:{port}"])
            nginx.start()
            stack.callback(nginx.stop)
            token = signed_in(f"http://127.0.0.1:{port}")
            rows: Rows = {"nginx": [], "alone": []}
            for _ in range(args.rounds):
                for name, url in (("alone", f"http://127.0.0.1:{port}"), ("nginx", nginx.url)):
                    rows[name].append(await asyncio.to_thread(load, f"{url}/auth/me", token, args))
    return figures(rows)


def signed_in(url: str) -> str:
    body = {"username": "bench", "password": "a long enough pass phrase"}
    httpx.post(f"{url}/auth/register", json=body, timeout=60)
    token: str = httpx.post(f"{url}/auth/login", json=body, timeout=60).raise_for_status().json()["access_token"]
    return token


def figures(rows: Rows) -> list[Figure]:
    def of(name: str, what: str) -> list[float]:
        return [row[what] for row in rows[name]]

    detail = "; ".join(
        f"{name} {statistics.median(of(name, 'rps')):.0f}/s, p50 {statistics.median(of(name, 'p50')):.1f} ms, "
        f"p99 {statistics.median(of(name, 'p99')):.1f} ms"
        for name in rows
    )
    what = "gateway through nginx with TLS / alone, requests per second"
    return [
        Figure(
            what,
            ratio(of("nginx", "rps"), of("alone", "rps")),
            ">= 0.8",
            f"{detail} (medians; load {os.getloadavg()[0]:.0f})",
        ),
        Figure("the same, p99", ratio(of("nginx", "p99"), of("alone", "p99")), "<= 1.5"),
    ]


if __name__ == "__main__":
    main(__doc__, run)

"""`nemo gpu`: who holds which memory, who waits for it, and the last hand-overs; live."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import Request

from services.cli.look import gateway_url
from services.cli.up import directly, running_pid
from shared.auth.service_tokens import ServiceIdentity
from shared.schemas.gpu import DeviceStatus, GpuStatus, Holder, Swap
from shared.settings import SERVICE_PORTS, ServiceSettings, WeakSecret

LOOK_S = 0.5
BAR = 24
CLEAR = "\x1b[H\x1b[2J"


def run(settings: ServiceSettings, *, once: bool) -> int:
    """Until Ctrl-C; one picture with `once` or where nobody watches. 1 where the platform is not up."""
    if running_pid(settings.data_dir) is None:
        print("Nemo Server is not running. Start it with `make up` or `nemo up`.")
        return 1
    live = not once and sys.stdout.isatty()
    while True:
        try:
            picture = "\n".join(drawn(_status(settings)))
        except (OSError, ValueError, WeakSecret) as error:
            picture = f"The coordinator does not answer ({_reason(error)}). See `nemo logs gpu-coordinator`."
            if not live:
                print(picture)
                return 1
        sys.stdout.write((CLEAR if live else "") + picture + "\n")
        sys.stdout.flush()
        if not live:
            return 0
        time.sleep(LOOK_S)


def _reason(error: Exception) -> str:
    return str(error.code) if isinstance(error, HTTPError) else type(error).__name__


def _status(settings: ServiceSettings) -> GpuStatus:
    """As the gateway, with its key: whoever may read the data folder may look."""
    identity = ServiceIdentity.from_settings("api-gateway", settings)
    shift = int(gateway_url(settings.data_dir).rsplit(":", 1)[1]) - SERVICE_PORTS["api-gateway"]
    url = f"http://127.0.0.1:{SERVICE_PORTS['gpu-coordinator'] + shift}/gpu/status"
    headers = {"Authorization": f"Bearer {identity.token_for('gpu-coordinator', None)}"}
    with directly.open(Request(url, headers=headers), timeout=5) as answer:
        return GpuStatus.model_validate(json.load(answer))


def drawn(status: GpuStatus) -> Iterator[str]:
    width = shutil.get_terminal_size((100, 24)).columns
    for device in status.devices:
        held = [each for each in status.holders if each.device_id == device.device_id]
        for line in _device(device, held):
            yield line[:width]
        yield ""
    waits = ", ".join(
        f"{name} {count}"
        + (f" (the oldest for {status.oldest_wait_s[name]:.0f} s)" if name in status.oldest_wait_s else "")
        for name, count in status.queue.items()
    )
    yield f"Queue: {waits}; {status.running} running"[:width]
    if status.last_swaps:
        yield ""
        yield "Last commands"
        for swap in status.last_swaps[:10]:
            yield ("  " + _swap(swap))[:width]


def _device(device: DeviceStatus, held: list[Holder]) -> Iterator[str]:
    usable = max(1, device.memory_total_bytes - device.reserve_bytes)
    full = min(BAR, round(BAR * device.reserved_bytes / usable))
    yield f"{device.device_id}  ({device.kind})"
    yield (
        f"  [{'#' * full}{'.' * (BAR - full)}] {_size(device.reserved_bytes)} of {_size(usable)} given out, "
        f"{_size(device.memory_free_bytes)} free, {_size(device.reserve_bytes)} left alone"
    )
    if device.alarm:
        yield f"  !! {device.alarm}"
    for each in held:
        yield "  " + _holder(each)
    if not held:
        yield "  no model has registered"


def _holder(holder: Holder) -> str:
    turn = "may compute" if holder.turn else "waits its turn" if holder.observed == "resident" and holder.kinds else ""
    here = "" if holder.instance else "its service is not running"
    wants = f"{holder.wants} use" if holder.wants else ""
    notes = "; ".join(each for each in (turn, wants, holder.why or "", here) if each)
    memory = f"{_size(holder.used_bytes)} of {_size(holder.bytes_resident)}"
    return f"{holder.holder_id:<14} {holder.observed:<12} {memory:<20} #{holder.epoch:<5} {notes}"


def _swap(swap: Swap) -> str:
    last = {"park": "free", "wake": "there"}.get(swap.what)
    steps = [("received", swap.received_ms), ("done", swap.done_ms), *([(last, swap.free_ms)] if last else [])]
    told = ", ".join(f"{name} {value:.0f} ms" for name, value in steps if value is not None)
    bad = f"  !! {swap.outcome}" if swap.outcome else ""
    return f"{swap.at.astimezone():%H:%M:%S} {swap.holder_id:<14} {swap.what:<6} {swap.why}; {told}{bad}"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"

"""What the command line says for `nemo doctor`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from services.cli.doctor import Finding, care, clock, hardware, places, stores
from shared.settings import ServiceSettings

MARKS = {True: "!!", False: "--"}


def run(settings: ServiceSettings, *, as_json: bool) -> int:
    """0: nothing is wrong, though there may be advice. 1: something is."""
    found = list(examine(settings))
    if as_json:
        print(json.dumps([asdict(each) | {"see": each.see} for each in found], indent=1))
    else:
        for line in told(found):
            print(line)
    return 1 if any(each.grave for each in found) else 0


def told(found: list[Finding]) -> Iterator[str]:
    """The grave ones first."""
    for each in sorted(found, key=lambda one: not one.grave):
        yield f"{MARKS[each.grave]}  {each.what}"
        yield f"    why: {each.why}"
        yield f"    do:  {each.do}"
        yield f"    see: {each.see}"
    if not any(each.grave for each in found):
        yield "ok  nothing is wrong that I know of"


def examine(settings: ServiceSettings) -> Iterator[Finding]:
    """Reads and connects; changes nothing but the list of weights whose hash was compared."""
    for look in (places.findings, care.findings, clock.findings, hardware.findings, stores.findings):
        try:
            yield from look(settings)
        except (OSError, ValueError, RuntimeError) as error:  # settings that cannot be read stop one look, not all
            topic = look.__module__.rsplit(".", 1)[1]
            why = "Part of the examination could not be made."
            yield Finding("not_examined", f"{topic}: {error}", why, "Put that right and run this again.", "settings")

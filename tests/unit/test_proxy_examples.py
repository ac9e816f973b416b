"""The examples in docker/proxy say the same as each other and as the gateway's settings; nginx's is run elsewhere."""

from __future__ import annotations

import re
from typing import Any

import yaml

from services.api_gateway.settings import Settings
from shared.security.body import IDLE_S
from tests.compose_policy import DOCKER

PROXY = DOCKER / "proxy"
NGINX = (PROXY / "nginx.conf").read_text(encoding="utf-8")
CADDY = (PROXY / "Caddyfile").read_text(encoding="utf-8")
TRAEFIK: dict[str, Any] = yaml.safe_load((PROXY / "traefik" / "dynamic.yaml").read_text(encoding="utf-8"))["http"]
STATIC: dict[str, Any] = yaml.safe_load((PROXY / "traefik" / "traefik.yaml").read_text(encoding="utf-8"))
INGRESS = yaml.safe_load((DOCKER / "k8s/components/ingress/ingress.yaml").read_text(encoding="utf-8"))
ANNOTATIONS = {key.rpartition("/")[2]: value for key, value in INGRESS["metadata"]["annotations"].items()}
WAIT_S = 300
"""The longest `?wait_s=` (API.md); a proxy has to be more patient."""


def test_bodies_may_be_as_large_as_the_gateway_takes() -> None:
    mib = Settings.model_fields["max_upload_bytes"].default // 1024**2
    assert f"client_max_body_size {mib}m;" in NGINX
    assert f"max_size {mib}MiB" in CADDY
    assert ANNOTATIONS["proxy-body-size"] == f"{mib}m"
    assert "buffering" not in str(TRAEFIK), "Traefik's limit of a body would keep it in memory"


def test_strict_transport_security_is_the_same_everywhere() -> None:
    (age,) = set(re.findall(r"max-age=(\d+); includeSubDomains", NGINX + CADDY))
    headers = TRAEFIK["middlewares"]["secure"]["headers"]
    assert (headers["stsSeconds"], headers["stsIncludeSubdomains"]) == (int(age), True)
    assert TRAEFIK["routers"]["nemo"]["middlewares"] == ["secure"]


def test_nothing_is_kept_back() -> None:
    for name in ("proxy_request_buffering", "proxy_buffering"):
        assert f"{name} off;" in NGINX
        assert ANNOTATIONS[name.replace("_", "-")] == "off"
    assert "proxy_max_temp_file_size 0;" in NGINX and ANNOTATIONS["proxy-max-temp-file-size"] == "0"
    assert "flush_interval -1" in CADDY
    assert TRAEFIK["services"]["gateway"]["loadBalancer"]["responseForwarding"]["flushInterval"].startswith("-")


def test_a_proxy_waits_longer_than_the_gateway() -> None:
    waits = [*re.findall(r"proxy_read_timeout (\d+)s", NGINX), *re.findall(r"response_header_timeout (\d+)s", CADDY)]
    waits.append(TRAEFIK["serversTransports"]["gateway"]["forwardingTimeouts"]["responseHeaderTimeout"].rstrip("s"))
    waits.append(ANNOTATIONS["proxy-read-timeout"])
    assert len(waits) == 4 and all(int(each) > WAIT_S for each in waits)
    assert f"client_body_timeout {IDLE_S:.0f}s;" in NGINX
    assert STATIC["entryPoints"]["websecure"]["transport"]["respondingTimeouts"]["readTimeout"] == "0s"


def test_no_example_believes_what_a_client_says_of_itself() -> None:
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in NGINX
    assert "trusted_proxies" not in CADDY, "then Caddy would keep what came"
    assert "forwardedHeaders" not in STATIC["entryPoints"]["websecure"]

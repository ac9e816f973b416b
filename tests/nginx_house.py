"""Debian's nginx as docker/proxy/nginx.conf has it, on free ports, with a certificate of its own."""

from __future__ import annotations

import ipaddress
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conftest import ROOT, free_ports

CONF = ROOT / "docker" / "proxy" / "nginx.conf"
NAME = "nemo.example.org"
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
ABSENT = "nginx is not installed (Debian: apt-get install nginx-light)"


class Nginx:
    """Its folder is the prefix; what the file says is changed in nothing but ports and upstreams."""

    def __init__(self, folder: Path, upstreams: Sequence[str]) -> None:
        self.folder = folder
        port = free_ports(2)
        self.plain, self.url = f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port + 1}"
        text = CONF.read_text(encoding="utf-8")
        server = "    server 127.0.0.1:8000;\n"
        for old, new in (
            ("listen 8080;", f"listen 127.0.0.1:{port};"),
            ("listen 8443 ssl http2;", f"listen 127.0.0.1:{port + 1} ssl http2;"),
            (server, "".join(server.replace("127.0.0.1:8000", each) for each in upstreams)),
            ("access_log /dev/stdout", "access_log access.log"),
        ):
            assert text.count(old) == 1, f"{CONF.name} has not once: {old}"
            text = text.replace(old, new)
        for each in ("tls", "tmp"):
            (folder / each).mkdir(parents=True)
        (folder / "nginx.conf").write_text(text, encoding="utf-8")
        certify(folder / "tls")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.folder / "tls" / "fullchain.pem")

    @property
    def log(self) -> str:
        return (self.folder / "access.log").read_text() + (self.folder / "error.log").read_text()

    def start(self) -> None:
        assert NGINX is not None, ABSENT
        command = [NGINX, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]
        own = {}
        if os.getuid() == 0:  # as an operator without root has it
            subprocess.run(["chown", "-R", "nobody", str(self.folder)], check=True)
            for parent in [self.folder, *self.folder.parents][:-2]:
                parent.chmod(parent.stat().st_mode | 0o011)
            own = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        with (self.folder / "error.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **own)  # type: ignore[call-overload]
        deadline = time.monotonic() + 30
        while not self._answers():
            assert self._process is not None and self._process.poll() is None, self.log
            assert time.monotonic() < deadline, "nginx did not start"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            urlopen(f"{self.url}/live", timeout=2, context=self.trust).close()
        except URLError as error:
            return hasattr(error, "code")
        except OSError:
            return False
        return True

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)


def certify(folder: Path) -> None:
    """A key and a certificate that it signed itself, for the name in the file and for loopback."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    names = [x509.DNSName(NAME), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = folder / "privkey.pem"
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))

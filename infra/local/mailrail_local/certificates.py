"""This file makes a certificate authority and a server certificate, because Mailrail insists on TLS."""

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .progress import Failed

# An elliptic key is short. The authority is in a variable of the functions, and Lambda allows 4 KB for all variables.
KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
SERVER_EXTENSIONS = "subjectAltName=DNS:localhost,DNS:mail.example.test,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
# Written out, because the defaults in openssl's own configuration differ between distributions.
CA_EXTENSIONS = "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign"


@dataclass(frozen=True)
class Certificates:
    ca: Path
    certificate: Path
    key: Path


def make(folder: Path) -> Certificates:
    """Makes the certificates in `folder`, or finds those of an earlier run there."""
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    if made.certificate.exists():
        return made
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "server.ext").write_text(SERVER_EXTENSIONS)
    subject = "-days 3650 -subj '/CN=Mailrail local CA'"
    _openssl(folder, f"req -x509 {KEY} {subject} {CA_EXTENSIONS} -keyout ca.key -out ca.pem")
    _openssl(folder, f"req {KEY} -subj /CN=localhost -keyout server.key -out server.csr")
    signer = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 3650"
    _openssl(folder, f"x509 -req -in server.csr {signer} -extfile server.ext -out server.pem")
    return made


def _openssl(folder: Path, arguments: str) -> None:
    command = ["openssl", *shlex.split(arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{shlex.join(command)} failed: {done.stderr.strip()}")

"""A throw-away certificate authority and the one certificate that the local mail servers share."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from .progress import Failed

DAYS = "3650"
# Elliptic: the authority travels in an environment variable of the functions, and Lambda allows 4 KB for all of them.
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
LEAF_EXTENSIONS = "subjectAltName=DNS:localhost,DNS:mail.example.test,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
# Explicit, because what openssl's own configuration adds by default differs between distributions.
CA_EXTENSIONS = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"]


@dataclass(frozen=True)
class Certificates:
    ca: Path
    certificate: Path
    key: Path


def make(folder: Path) -> Certificates:
    """Makes them in `folder`, or finds those of an earlier run there."""
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    if made.certificate.exists():
        return made
    folder.mkdir(parents=True, exist_ok=True)
    ca_key, request, extensions = folder / "ca.key", folder / "server.csr", folder / "server.ext"
    extensions.write_text(LEAF_EXTENSIONS)
    ca_extensions = [word for extension in CA_EXTENSIONS for word in ("-addext", extension)]
    _openssl(
        "req",
        "-x509",
        *KEY,
        "-days",
        DAYS,
        "-subj",
        "/CN=Mailrail local CA",
        *ca_extensions,
        "-keyout",
        ca_key,
        "-out",
        made.ca,
    )
    _openssl("req", *KEY, "-subj", "/CN=localhost", "-keyout", made.key, "-out", request)
    _openssl(
        "x509",
        "-req",
        "-in",
        request,
        "-CA",
        made.ca,
        "-CAkey",
        ca_key,
        "-CAcreateserial",
        "-days",
        DAYS,
        "-extfile",
        extensions,
        "-out",
        made.certificate,
    )
    return made


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"openssl {arguments[0]} failed: {done.stderr.strip()}")

"""MiniStack, the emulator: AWS on one port of this machine, with the roles of the template enforced."""

import os
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from .ports import LOOPBACK
from .processes import Processes
from .progress import wait_for

REGION = "us-east-1"
START_SECONDS_MAX = 60.0
HEALTH_SECONDS_MAX = 2.0
CALL_SECONDS_MAX = 60

# Its root account. Any twelve digits in place of the key would be another account, with nothing in it.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@dataclass(frozen=True)
class MiniStack:
    url: str
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        """What makes any AWS client talk to this emulator and to nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            **CREDENTIALS,
        }

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            config=Config(read_timeout=CALL_SECONDS_MAX, retries={"max_attempts": 2}, s3={"addressing_style": "path"}),
        )


def start(
    processes: Processes, folder: Path, port: int, keep_state: bool, proxies: dict[str, str] | None = None
) -> MiniStack:
    """Starts it; `proxies` are addresses that invocations of the named functions are handed to instead."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    stack = MiniStack(f"http://{LOOPBACK}:{port}", folder / "ministack.log")
    # Clean, because the functions inherit it: one must not pass here on a variable that it would not have on AWS.
    environment = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "BIND_HOST": LOOPBACK,
        "MINISTACK_HOST": LOOPBACK,
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "AWS_ENDPOINT_URL": stack.url,
        "AUTH": "true",
        **{f"MINISTACK_LAMBDA_PROXY_{function}": url for function, url in (proxies or {}).items()},
    }
    if keep_state:
        environment |= {
            "PERSIST_STATE": "1",
            "STATE_DIR": str(folder / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(folder / "s3"),
        }
    service = processes.start(
        "MiniStack",
        [str(Path(sys.executable).parent / "ministack")],
        stack.log,
        environment,
        folder=folder,
    )

    def is_up() -> bool:
        service.fail_if_dead()
        try:
            with urllib.request.urlopen(f"{stack.url}/_ministack/health", timeout=HEALTH_SECONDS_MAX) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    wait_for("MiniStack to answer", is_up, START_SECONDS_MAX, f"read {stack.log}")
    return stack

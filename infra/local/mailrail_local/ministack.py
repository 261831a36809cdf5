"""This file runs MiniStack, because the template has to be deployed to an AWS on this machine."""

import os
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from .ports import LOOPBACK
from .processes import Processes

REGION = "us-east-1"
HEALTH_SECONDS_MAX = 2.0
CALL_SECONDS_MAX = 60

# The emulator's root account. A key of twelve digits would be another account, which has nothing in it.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@dataclass(frozen=True)
class MiniStack:
    url: str
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a client of AWS talks to this emulator and to nothing else."""
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


def start(processes: Processes, folder: Path, port: int, keep_state: bool, proxies: dict[str, str]) -> MiniStack:
    """Starts MiniStack. It hands invocations of the functions in `proxies` to the addresses there."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    stack = MiniStack(f"http://{LOOPBACK}:{port}", folder / "ministack.log")
    # The functions inherit this, so it must not have a variable that they would not have on AWS.
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
        **{f"MINISTACK_LAMBDA_PROXY_{function}": url for function, url in proxies.items()},
    }
    if keep_state:
        environment |= {
            "PERSIST_STATE": "1",
            "STATE_DIR": str(folder / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(folder / "s3"),
        }
    program = str(Path(sys.executable).parent / "ministack")
    service = processes.start("MiniStack", [program], stack.log, environment, folder=folder)

    def is_up() -> bool:
        try:
            with urllib.request.urlopen(f"{stack.url}/_ministack/health", timeout=HEALTH_SECONDS_MAX):
                return True
        except OSError:
            return False

    service.wait_until(is_up)
    return stack

"""This file lists the accounts of example.test, because every local mail server has the same ones."""

import os
import pwd
from dataclasses import dataclass

DOMAIN = "example.test"
COUNT = 400


@dataclass(frozen=True)
class Account:
    name: str

    @property
    def address(self) -> str:
        return f"{self.name}@{DOMAIN}"

    @property
    def password(self) -> str:
        return f"pw-{self.name}"


def account(number: int) -> Account:
    if not 1 <= number <= COUNT:
        raise ValueError(f"accounts are numbered 1 to {COUNT}, not {number}")
    return Account(f"u{number:04d}")


def everybody() -> list[Account]:
    return [account(number) for number in range(1, COUNT + 1)]


def mail_owner() -> pwd.struct_passwd:
    """The owner of the stored mail. For root it is Debian's account `mail`, because no server serves mail as root."""
    return pwd.getpwnam("mail") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())

"""This file runs Postfix, because Mailrail sends email over SMTP and has to understand every refusal of a server."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import accounts, ports
from .certificates import Certificates
from .dovecot import Dovecot
from .processes import Processes, server_program
from .progress import Failed
from .root import as_root

PORT_NAMES = ["submission", "submissions", "mx"]
MESSAGE_BYTES_MAX = 10 * 1024 * 1024

# What the server answers to RCPT TO these addresses.
AT_RECIPIENT = {
    "greylisted": "450 4.7.1 Greylisted, try again in five minutes",
    "unavailable": "451 4.3.0 Temporary server error",
    "insufficient": "452 4.2.2 Mailbox full, try again later",
    "full": "552 5.2.2 Mailbox full",
    "refused": "550 5.7.1 Refused by policy",
    "moved": "551 5.1.6 User not local",
    "closing": "421 4.3.2 Service closing the channel",
}
# What the server answers after the last line of a message. Postfix looks here only if there is one recipient.
AT_END_OF_DATA = {
    "late-deferred": "451 4.7.0 Content deferred",
    "late-too-large": "552 5.2.3 Message too large for this recipient",
    "late-refused": "554 5.7.1 Content refused",
}


@dataclass(frozen=True)
class Postfix:
    folder: Path
    ports: dict[str, int]


def start(
    processes: Processes, folder: Path, certificates: Certificates, dovecot: Dovecot, chosen: dict[str, int]
) -> Postfix:
    configuration = folder / "etc"
    for part in (configuration, folder / "queue", folder / "data"):
        part.mkdir(parents=True, exist_ok=True)
    data_owner = pwd.getpwnam("postfix")
    _own(folder / "data", data_owner)
    known = [one.address for one in accounts.everybody()] + [f"{name}@{accounts.DOMAIN}" for name in AT_END_OF_DATA]
    (configuration / "recipients").write_text("".join(f"{address} ok\n" for address in known))
    (configuration / "at-recipient").write_text(_table(AT_RECIPIENT))
    (configuration / "at-end-of-data").write_text(_table(AT_END_OF_DATA))
    (configuration / "sender-owners").write_text(rf"/^(u\d+@{accounts.DOMAIN.replace('.', chr(92) + '.')})$/ $1" + "\n")
    (configuration / "headers").write_text("/^X-Provoke: refuse$/ REJECT 5.7.1 Content refused\n")
    (configuration / "main.cf").write_text(_main(folder, certificates, dovecot))
    (configuration / "master.cf").write_text(_master(chosen))
    control = [server_program("postfix"), "-c", str(configuration)]
    _own(configuration, pwd.getpwuid(0))
    service = processes.start(
        "Postfix",
        as_root([*control, "start-fg"]),
        folder / "start.log",
        stop_command=as_root([*control, "stop"]),
    )
    service.wait_until(lambda: all(map(ports.answers, chosen.values())), folder / "mail.log")
    return Postfix(folder, chosen)


def _own(path: Path, owner: pwd.struct_passwd) -> None:
    if os.geteuid() == 0:
        os.chown(path, owner.pw_uid, owner.pw_gid)
        return
    command = as_root(["chown", "-R", f"{owner.pw_uid}:{owner.pw_gid}", str(path)])
    if subprocess.run(command, check=False).returncode != 0:
        raise Failed(f"{path} could not be given to the account {owner.pw_name}; run `sudo --validate` and try again")


def _table(replies: dict[str, str]) -> str:
    return "".join(f"{name}@{accounts.DOMAIN} {reply}\n" for name, reply in replies.items())


def _main(folder: Path, certificates: Certificates, dovecot: Dovecot) -> str:
    etc = folder / "etc"
    return f"""\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = mail.{accounts.DOMAIN}
inet_interfaces = {ports.LOOPBACK}
inet_protocols = ipv4
mynetworks =
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
smtputf8_enable = yes
message_size_limit = {MESSAGE_BYTES_MAX}
mailbox_size_limit = 0

# Mail for the one domain goes to Dovecot. Mail for any other is refused, so nothing leaves this machine.
virtual_mailbox_domains = {accounts.DOMAIN}
virtual_mailbox_maps = texthash:{etc}/recipients
virtual_transport = lmtp:inet:{ports.LOOPBACK}:{dovecot.ports["lmtp"]}
default_transport = error:5.7.1 Nothing leaves the local stack
relay_transport = error:5.7.1 Nothing leaves the local stack
smtpd_relay_restrictions = reject_unauth_destination

smtpd_tls_cert_file = {certificates.certificate}
smtpd_tls_key_file = {certificates.key}
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:{ports.LOOPBACK}:{dovecot.ports["sasl"]}
smtpd_sasl_security_options = noanonymous
smtpd_sender_login_maps = pcre:{etc}/sender-owners

smtpd_recipient_restrictions = check_recipient_access texthash:{etc}/at-recipient, reject_unlisted_recipient
smtpd_end_of_data_restrictions = check_recipient_access texthash:{etc}/at-end-of-data
header_checks = pcre:{etc}/headers
smtpd_error_sleep_time = 0
# All clients of the tests come from one address, so the limit per address is off.
smtpd_client_connection_count_limit = 0
"""


def _master(chosen: dict[str, int]) -> str:
    authenticated = (
        "-o smtpd_sasl_auth_enable=yes -o smtpd_client_restrictions=permit_sasl_authenticated,reject"
        " -o smtpd_sender_restrictions=reject_sender_login_mismatch"
    )
    host = ports.LOOPBACK
    return f"""\
{host}:{chosen["submission"]} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt {authenticated}
{host}:{chosen["submissions"]} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes {authenticated}
{host}:{chosen["mx"]} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

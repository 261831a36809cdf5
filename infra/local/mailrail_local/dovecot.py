"""This file runs Dovecot, because Mailrail reads email over IMAP and POP3 and Postfix needs somebody to deliver to."""

import base64
import grp
import os
import pwd
import secrets
from dataclasses import dataclass
from pathlib import Path

from . import accounts, ports
from .certificates import Certificates
from .processes import Processes, server_program

PORT_NAMES = ["imap", "imaps", "pop3", "pop3s", "lmtp", "sasl"]
# Each folder is named like its special use.
SPECIAL_FOLDERS = ["Sent", "Drafts", "Junk", "Trash", "Archive"]
COMPRESSION = "protocol imap {\n  mail_plugins = zlib imap_zlib\n}\n"


@dataclass(frozen=True)
class Dovecot:
    folder: Path
    ports: dict[str, int]
    jwt_key: str

    @property
    def mail(self) -> Path:
        """One folder per account, named by its address, each with a Maildir."""
        return self.folder / "mail"


def start(
    processes: Processes, folder: Path, certificates: Certificates, chosen: dict[str, int], with_compression: bool
) -> Dovecot:
    server = Dovecot(folder, chosen, _jwt_key(folder))
    _make_folders(server)
    (folder / "users").write_text(
        "".join(f"{one.address}:{{PLAIN}}{one.password}::::::\n" for one in accounts.everybody())
    )
    (folder / "oauth2.conf").write_text(_oauth2(folder))
    configuration = folder / "dovecot.conf"
    configuration.write_text(_configuration(server, certificates) + (COMPRESSION if with_compression else ""))
    service = processes.start(
        "Dovecot", [server_program("dovecot"), "-F", "-c", str(configuration)], folder / "start.log"
    )
    service.wait_until(lambda: all(map(ports.answers, chosen.values())), folder / "dovecot.log")
    return server


def _jwt_key(folder: Path) -> str:
    """The key that signs access tokens for XOAUTH2 (HS256); it is kept as long as the folder."""
    kept = folder / "jwt-key"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        kept.write_text(secrets.token_hex(32))
        kept.chmod(0o600)
    return kept.read_text()


def _make_folders(server: Dovecot) -> None:
    owner = accounts.mail_owner()
    keys = server.folder / "keys" / "default" / "HS256"
    for folder in (server.mail, server.folder / "run", server.folder / "state", keys):
        folder.mkdir(parents=True, exist_ok=True)
    (keys / "default").write_text(base64.b64encode(server.jwt_key.encode()).decode())
    if os.geteuid() == 0:
        os.chown(server.mail, owner.pw_uid, owner.pw_gid)


def _oauth2(folder: Path) -> str:
    # Dovecot 2.3 looks for an "active" claim in a local token unless both settings are present and empty.
    return f"""\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={folder}/keys/
username_attribute = sub
active_attribute =
active_value =
"""


def _configuration(server: Dovecot, certificates: Certificates) -> str:
    me = pwd.getpwuid(os.geteuid()).pw_name
    internal, login = ("dovecot", "dovenull") if os.geteuid() == 0 else (me, me)
    group = grp.getgrgid(pwd.getpwnam(internal).pw_gid).gr_name
    owner = accounts.mail_owner()
    port = server.ports
    return f"""\
base_dir = {server.folder}/run
state_dir = {server.folder}/state
log_path = {server.folder}/dovecot.log
instance_name = mailrail-{port["imap"]}
protocols = imap pop3 lmtp
listen = {ports.LOOPBACK}

default_internal_user = {internal}
default_internal_group = {group}
default_login_user = {login}

mail_home = {server.mail}/%u
mail_location = maildir:~/Maildir
mail_uid = {owner.pw_uid}
mail_gid = {owner.pw_gid}
first_valid_uid = 1
# This mail is thrown away, so it does not have to survive a power cut.
mail_fsync = never
# All clients of the tests come from one address and often as one user.
mail_max_userip_connections = 1000

ssl = yes
ssl_cert = <{certificates.certificate}
ssl_key = <{certificates.key}
disable_plaintext_auth = yes

auth_verbose = yes
auth_mechanisms = plain login xoauth2 oauthbearer
# Otherwise every test of a wrong password would have to wait.
auth_failure_delay = 0
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {server.folder}/oauth2.conf
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {server.folder}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {server.folder}/users
  override_fields = uid={owner.pw_uid} gid={owner.pw_gid} home={server.mail}/%u
}}

namespace inbox {{
  inbox = yes
  separator = /
{"".join(_folder(name) for name in SPECIAL_FOLDERS)}}}

protocol lmtp {{
  postmaster_address = postmaster@{accounts.DOMAIN}
}}
protocol pop3 {{
  pop3_uidl_format = %08Xu%08Xv
}}

{_login_service("imap", port["imap"], port["imaps"])}
{_login_service("pop3", port["pop3"], port["pop3s"])}
service imap {{
  process_limit = 512
}}
service pop3 {{
  process_limit = 512
}}
service lmtp {{
  inet_listener lmtp {{
    port = {port["lmtp"]}
  }}
}}
service auth {{
  inet_listener {{
    port = {port["sasl"]}
  }}
}}
service anvil {{
  chroot =
  # Mode 0 removes the delay of every log-in from an address that has once sent a wrong password.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
"""


def _folder(name: str) -> str:
    return f"  mailbox {name} {{\n    auto = create\n    special_use = \\{name}\n  }}\n"


def _login_service(protocol: str, plain: int, tls: int) -> str:
    # A process serves many connections, because starting one process for each costs more than the session.
    return f"""\
service {protocol}-login {{
  chroot =
  service_count = 0
  process_min_avail = 1
  client_limit = 2000
  inet_listener {protocol} {{
    port = {plain}
  }}
  inet_listener {protocol}s {{
    port = {tls}
  }}
}}"""

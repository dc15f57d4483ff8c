"""What a private Dovecot is told: everything but where mail is, in the words of 2.3 and of 2.4.

Nothing of /etc/dovecot is read. Sources: Dovecot 2.3 manual, "Rootless installation", "Service configuration",
"Passwd-file"; Dovecot 2.4 manual, the pages of the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tierproxy.dovecot.versions import Series, Version

OWNER = 5000
"""User and group that own all mail: numbers no account is needed for."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where it listens, on 127.0.0.1."""

    imap: int
    pop3: int
    lmtp: int


@dataclass(frozen=True, slots=True)
class Places:
    """``directory``: everything that is the instance's own, run directory and log included."""

    directory: Path

    @property
    def run(self) -> Path:
        """Sockets: their paths have 108 bytes at most (unix(7))."""
        return self.directory / "run"

    @property
    def log(self) -> Path:
        return self.directory / "dovecot.log"

    @property
    def passwd(self) -> Path:
        return self.directory / "passwd"

    @property
    def config(self) -> Path:
        return self.directory / "dovecot.conf"


def passwd_file(users: Mapping[str, str]) -> str:
    """User names and passwords in clear, one a line."""
    return "".join(f"{name}:{{PLAIN}}{password}::::::\n" for name, password in users.items())


def configuration(version: Version, places: Places, ports: Ports, mail: str, more: str = "") -> str:
    """The file. ``mail``: as ``mail_settings`` makes it; ``more``: further lines, which count when they contradict."""
    build = _of_23 if version.series is Series.V23 else _of_24
    return "\n".join([build(version, places), _listeners(ports), mail, more]) + "\n"


def _common(places: Places) -> str:
    """LAYOUT=index alone would make ~ the separator of folder names, which no client expects."""
    return f"""\
base_dir = {places.run}
state_dir = {places.run}
instance_name = private
log_path = {places.log}
log_timestamp = "%Y-%m-%d %H:%M:%S "
listen = 127.0.0.1
ssl = no
mail_max_userip_connections = 100
first_valid_uid = {OWNER}
namespace inbox {{
  inbox = yes
  separator = /
}}
"""


def _of_23(_: Version, places: Places) -> str:
    return f"""\
{_common(places)}
protocols = imap pop3 lmtp
disable_plaintext_auth = no
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {places.passwd}
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {places.passwd}
}}
"""


def _of_24(version: Version, places: Places) -> str:
    number = ".".join(version.text.split(".")[:3])
    return f"""\
dovecot_config_version = {number}
dovecot_storage_version = {number}
{_common(places)}
protocols {{
  imap = yes
  pop3 = yes
  lmtp = yes
}}
auth_allow_cleartext = yes
passdb passwd-file {{
  passwd_file_path = {places.passwd}
}}
userdb passwd-file {{
  passwd_file_path = {places.passwd}
}}
"""


def _listeners(ports: Ports) -> str:
    """Port 0: no listener."""
    return f"""\
service imap-login {{
  inet_listener imap {{
    port = {ports.imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {ports.pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {ports.lmtp}
  }}
}}
"""

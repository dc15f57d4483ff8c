"""The files of an installation, but for systemd's."""

from __future__ import annotations

import hashlib
import re

from tierproxy.dovecot.installation.wish import Wish
from tierproxy.dovecot.settings import Layout, mail_settings

_MARK = re.compile(r"# Made by `tierproxy dovecot setup` \(([0-9a-f]{16})\)[^\n]*\n")


def marked(text: str) -> str:
    """``text`` below a line that says whose it is; the number in it tells whether somebody changed it since."""
    return f"# Made by `tierproxy dovecot setup` ({_digest(text)}), which replaces it unless it was changed.\n{text}"


def unchanged(text: str) -> bool:
    """Whether it is as ``marked`` made it, of whatever version."""
    found = _MARK.match(text)
    return found is not None and found[1] == _digest(text[found.end() :])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def dovecot_settings(wish: Wish) -> str:
    """conf.d/99-tierproxy.conf: read after Debian's own files, whose mail location it replaces."""
    settings = mail_settings(
        wish.version, wish.layout, wish.paths, user=wish.user, group=wish.user, folders=wish.folders
    )
    note = f"# Mail on a mount of tierproxy: layout {wish.layout}, for Dovecot {wish.version.series}.\n"
    return marked(
        note + "# `tierproxy dovecot check` goes through every trap; docs/dovecot.md says why.\n\n" + settings
    )


def bucket_lines(wish: Wish) -> str:
    """The parts of tierproxy.toml that the mount needs."""
    moved = " (doveadm altmove waits for S3 then, mail by mail; with disk it does not)"
    return f"""\
[listen]
unix_socket = "{wish.socket}"

[[bucket]]
name = "{wish.bucket}"
exclusive = true      # no other program writes there: names are answered by the catalogue, not by S3
mail_metadata = true  # an empty host is rebuilt without reading bodies
ack = "both"          # a mail is on disk and in S3 when LMTP answers 250{moved if wish.layout is Layout.ALT else ""}

[[key]]
access_key_id = "{wish.access_key_id}"
secret_file = "{wish.secret}"
buckets = ["{wish.bucket}"]
"""


def node_config(wish: Wish) -> str:
    """A whole tierproxy.toml for a host that has none. [alt] is for the operator to fill in."""
    own = bucket_lines(wish).replace("[listen]\n", '[listen]\naddress = "127.0.0.1:9300"\n', 1)
    directory = wish.config.rpartition("/")[0]
    return f"""\
# Configuration of the node for Dovecot's mail. `tierproxy config describe` explains every option.

[node]
data_dir = "/var/lib/tierproxy"

[alt]  # the S3 server: fill this in
endpoint = ""  # empty for AWS S3 in the region
region = "us-east-1"
access_key_id = ""
# secret_access_key_file = "{directory}/alt.secret"

[disk]
max_bytes = "50GiB"  # for mail that is read; all of it is in S3

[stubs]  # heads and tails of mail that is not on disk: headers and dates cost no request
max_bytes = "1GiB"

{own}"""

"""What a node's configuration lacks for a mount."""

from __future__ import annotations

from collections.abc import Iterator

from tierproxy.config.sections import Config
from tierproxy.dovecot.installation.wish import Wish


def lacking(config: Config, wish: Wish) -> Iterator[str]:
    """One line for each thing, in words; none: it has everything."""
    if config.listen.unix_socket != wish.socket:
        yield f"[listen] unix_socket is {config.listen.unix_socket!r}, the mount asks {wish.socket!r}"
    section = next((one for one in config.bucket if one.name == wish.bucket), None)
    if section is None:
        yield f"there is no [[bucket]] {wish.bucket}"
    elif not section.exclusive:
        yield f"bucket {wish.bucket} is not exclusive"
    elif not section.mail_metadata:
        yield f"bucket {wish.bucket} has no mail_metadata"
    if config.listen.auth == "sigv4" and not any(one.access_key_id == wish.access_key_id for one in config.key):
        yield f"there is no [[key]] {wish.access_key_id}"

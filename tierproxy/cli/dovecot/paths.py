"""Where things are on a host that `tierproxy dovecot setup` has set up."""

from __future__ import annotations

NODE_CONFIG = "/etc/tierproxy/tierproxy.toml"
DOVECOT_DIRECTORY = "/etc/dovecot"

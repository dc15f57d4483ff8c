"""The kinds of hits whose instructions are counted, each with the node it needs and the requests for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from signing import Signer

from tierproxy.config.sections import Config, KeySection, ListenSection, MemorySection
from tierproxy.config.values import Size
from tierproxy.testing.rig import BUCKET, config_for

KEY, SECRET = "load", "load-test-secret"
HOST = "127.0.0.1:9300"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of hit. ``memory``: the memory tier is on; ``lane``: the hit lane is; ``known``: the client has the
    object and asks whether it changed."""

    name: str
    auth: Literal["none", "sigv4"] = "none"
    memory: bool = True
    lane: bool = True
    known: bool = False

    def config(self, root: Path) -> Config:
        listen = ListenSection(address="127.0.0.1:0", auth=self.auth, hit_lane=self.lane)
        config = config_for(root, listen=listen, key=(KeySection(access_key_id=KEY, secret=SECRET),))
        return config if self.memory else replace(config, memory=MemorySection(max_bytes=Size(0)))

    def request(self, key: str, etag: str, now: float) -> bytes:
        """The head of a GET, as a client sends it at ``now``."""
        path = f"/{BUCKET}/{key}"
        headers = {"host": HOST, "user-agent": "mail/1.0", "accept": "*/*"}
        if self.auth == "sigv4":
            headers |= Signer(KEY, SECRET).headers("GET", HOST, path, now)
        if self.known:
            headers["if-none-match"] = f'"{etag}"'
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()


KINDS = {
    kind.name: kind
    for kind in (
        Kind("memory hit"),
        Kind("memory hit, SigV4", auth="sigv4"),
        Kind("disk hit", memory=False),
        Kind("not modified", known=True),
        Kind("memory hit, ordinary way", lane=False),
    )
}

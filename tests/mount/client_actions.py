"""Everything a client can be asked for, and what a fake node may answer."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from tests.mount.client_world import send
from tests.mount.fake_node import answer, closes, error, missing, says
from tierproxy.mount.client import HttpNode
from tierproxy.mount.ports import File

MIB = 2**20
MAIL = b"From: ann@example.org\r\n\r\nHelo\r\n"
ETAG = hashlib.md5(MAIL).hexdigest()
FILE = File("a/u.1", len(MAIL), ETAG, 1.5e9, 1.6e9)
WHOLE = answer(200, MAIL, etag=f'"{ETAG}"')
STORED = answer(200, etag=f'"{ETAG}"')
OURS = answer(200, etag=f'"{ETAG}"', x_amz_meta_mtime="1500000000.000000000", x_amz_meta_ctime="1600000000.0")
THEIRS = answer(200, etag=f'"{ETAG}"', x_amz_meta_mtime="1.0")
TAKEN = error(412, "PreconditionFailed")

Action = Callable[[HttpNode], Awaitable[object]]
READS: dict[str, Action] = {
    "open": lambda client: client.open("a/u.1"),
    "piece": lambda client: client.piece(FILE, 0, 5),
    "children": lambda client: client.children("a/"),
    "room": lambda client: client.room(),
}
CHANGES: dict[str, Action] = {
    "put": lambda client: send(client, "a/u.1", MAIL, create=True),
    "copy": lambda client: client.copy(FILE, "b/u.1"),
    "delete": lambda client: client.delete("a/u.1", match=ETAG),
    "mark": lambda client: client.mark("a/", 1.0),
}
LOST = {"no word": closes(), "cut": says(STORED[:-8], keep=False), "503": says(error(503, "ServiceUnavailable"))}
DONE = {"put": OURS, "copy": OURS, "delete": missing(), "mark": OURS}
NOT_DONE = {"put": missing(), "copy": missing(), "delete": OURS, "mark": missing()}

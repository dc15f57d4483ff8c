"""One store behind two servers, with the hit lane and without; what they answer to the same bytes must be the same."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.config.values import Duration
from tierproxy.model import Headers
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Authenticator, Open
from tierproxy.s3api.lane.lane import HitLane
from tierproxy.s3api.lane.ports import Served
from tierproxy.server import ObjectServer
from tierproxy.testing.rig import Rig, rig
from tierproxy.testing.wire import PATIENCE

MAIL = b"From: ann@example.org\r\n\r\nHello, this is a mail.\r\n" * 20
LARGE = bytes(range(256)) * 1200  #: more than the lane answers with
END = b"GET /-/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"

_VARIES = re.compile(rb"(?m)^(date|x-amz-request-id|server-timing): [^\r\n]*\r$|<RequestId>[^<]*</RequestId>")


@dataclass
class Pair:
    """``answers``: by status code, what the lane has answered so far."""

    rig: Rig
    plain: ObjectServer
    laned: ObjectServer
    lane: HitLane
    answers: dict[int, int]

    async def same(self, *pieces: bytes, end: bytes = END) -> tuple[bytes, int]:
        """Send ``pieces`` to both, each in a packet of its own, then ``end``; assert that all they answer until they
        close is the same. The answer, without what differs from request to request, and how much of it the lane
        gave."""
        expected = masked(await said(self.plain, [*pieces, end]))
        before = self.given()
        found = masked(await said(self.laned, [*pieces, end]))
        assert found == expected
        return found, self.given() - before

    def given(self) -> int:
        """How many requests the lane has answered."""
        for status, times in self.lane.take().answers.items():
            self.answers[status] = self.answers.get(status, 0) + times
        return sum(self.answers.values())


def masked(answer: bytes) -> bytes:
    return _VARIES.sub(lambda found: found[1] or b"id", answer)


async def said(server: ObjectServer, pieces: Sequence[bytes]) -> bytes:
    """All the server says until it closes."""
    assert server.address is not None
    found = b""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(*server.address)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            while data := await reader.read(65536):
                found += data
        except ConnectionError:  # what was sent after the end has no reader
            pass
        finally:
            writer.close()
    return found


@asynccontextmanager
async def side_by_side(
    directory: Path, *, keys: Authenticator | None = None, listen: dict[str, Any] | None = None, **sections: Any
) -> AsyncIterator[Pair]:
    """``listen``: options of ``[listen]``; ``sections``: of the store's configuration. Objects: a (mail), b (empty), c
    (with all headers that can be stored), large."""
    async with rig(directory, **sections) as one:
        await one.put("a", MAIL)
        await one.put("b", b"")
        await one.put("c", MAIL * 3, headers=headers())
        await one.put("d e/é+~", MAIL)
        await one.put("large", LARGE)
        for key in ("a", "b", "c", "d e/é+~", "large"):
            await one.get(key)
        options: dict[str, Any] = {"address": "127.0.0.1:0", "auth": "none", "idle_timeout": Duration(2)}
        settings = ListenSection(**options | (listen or {}))
        authenticator, clock = keys or Open(), SystemClock()
        plain = ObjectServer(settings, ObjectApp(one.parts.store, authenticator, settings, clock), clock)
        lane = HitLane(one.parts.near, one.parts.hot, authenticator, clock, domain=settings.domain)
        app = ObjectApp(one.parts.store, authenticator, settings, clock)
        answers: dict[int, int] = {}

        def served(what: Served) -> None:
            app.served(what)
            for status, times in what.answers.items():
                answers[status] = answers.get(status, 0) + times

        laned = ObjectServer(settings, app, clock, lane=lane, served=served)
        await plain.start()
        await laned.start()
        try:
            yield Pair(one, plain, laned, lane, answers)
        finally:
            await plain.stop(0)
            await laned.stop(0)


def headers() -> Headers:
    return Headers(
        content_type="text/plain; charset=utf-8", cache_control="max-age=5", content_disposition='inline; filename="é"',
        content_encoding="gzip", content_language="de", expires="Sun, 22 Nov 2026 08:00:00 GMT",
        metadata={"owner": "ann", "subject": "Grüße"}, checksums={"crc32": "AAAAAA=="}, checksum_type="FULL_OBJECT",
    )  # fmt: skip

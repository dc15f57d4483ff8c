"""HTTP clients for measuring: a lean keep-alive one of our own, and wrk where it is installed. Both send heads made in
advance, so that signing costs the client nothing while it measures."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from measuring import Sample
from served import Failed

from tierproxy.clock import SystemClock
from tierproxy.s3api.auth import ALGORITHM, derive_key, sign, string_to_sign
from tierproxy.s3api.dates import amz_stamp

REGION = "us-east-1"
PATIENCE = 30.0


def signed(
    method: str, host: str, path: str, key: tuple[str, str], body: bytes = b"", *, query: str = ""
) -> dict[str, str]:
    """Headers of a request signed with SigV4; valid for fifteen minutes. ``query``: canonical, as in a=1&b=2."""
    stamp, digest = amz_stamp(SystemClock().now()), hashlib.sha256(body).hexdigest()
    names = "host;x-amz-content-sha256;x-amz-date"
    lines = f"host:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{stamp}\n"
    canonical = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{digest}"
    scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
    signature = sign(derive_key(key[1], stamp[:8], REGION), string_to_sign(stamp, scope, canonical.encode()))
    authorization = f"{ALGORITHM} Credential={key[0]}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {"host": host, "x-amz-date": stamp, "x-amz-content-sha256": digest, "authorization": authorization}


class KeepAlive(asyncio.Protocol):
    """One connection, one request at a time. ``ask`` returns when the last byte of the answer is here."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[int] | None = None
        self._head = b""
        self._left = -1
        self._status = 0
        self._bodyless = False

    @classmethod
    async def open(cls, host: str, port: int) -> KeepAlive:
        _, protocol = await asyncio.get_running_loop().create_connection(cls, host, port)
        return protocol

    async def ask(self, request: bytes, body: bytes = b"") -> int:
        """Send a request; returns the status of its answer."""
        assert self._transport is not None
        self._waiter = asyncio.get_running_loop().create_future()
        self._head, self._left, self._bodyless = b"", -1, request.startswith(b"HEAD")
        self._transport.writelines([request, body])
        return await self._waiter

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "writelines")
        self._transport = transport  # type: ignore[assignment]  # uvloop's is not asyncio's class

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionError("closed in the middle of an answer"))

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            self._head += data
            head, found, rest = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._status = int(head[9:12])
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            self._left = int(length[1]) if length and not self._bodyless else 0
            data = rest
        self._left -= len(data)
        if self._left <= 0 and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._status)


def head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode()


async def exchange(
    address: tuple[str, int], requests: Sequence[tuple[bytes, bytes]], concurrency: int, seconds: float, *, again: bool
) -> Sample:
    """Send ``requests`` (head, body) over ``concurrency`` connections for ``seconds``; ``again``: from the beginning
    when they are through, else end there. Raises Failed for a status beyond 299."""
    connections = [await KeepAlive.open(*address) for _ in range(concurrency)]
    taken: list[float] = []
    at = 0
    begin = time.perf_counter()
    end = begin + seconds

    async def loop(connection: KeepAlive) -> None:
        nonlocal at
        while (now := time.perf_counter()) < end and (again or at < len(requests)):
            request, body = requests[at % len(requests)]
            at += 1
            status = await connection.ask(request, body)
            if status >= 300:
                raise Failed(f"{request[:100]!r} was answered {status}")
            taken.append(time.perf_counter() - now)

    try:
        async with asyncio.timeout(seconds + PATIENCE):
            await asyncio.gather(*(loop(connection) for connection in connections))
    finally:
        for connection in connections:
            connection.close()
    return Sample(len(taken) / (time.perf_counter() - begin), statistics.median(taken) * 1000)


# ---------------------------------------------------------------- wrk


def has_wrk() -> bool:
    return shutil.which("wrk") is not None


LUA = """
local requests = {{ {requests} }}
local at = 0
request = function() at = at % #requests + 1; return requests[at] end
"""


async def wrk(
    directory: Path, address: tuple[str, int], requests: Sequence[bytes], concurrency: int, seconds: float
) -> Sample:
    """``requests`` again and again over ``concurrency`` connections. At least a second. Raises Failed."""
    script = directory / "requests.lua"
    script.write_text(LUA.format(requests=", ".join(json.dumps(one.decode("latin-1")) for one in requests)))
    command = [
        "wrk", "-t1", f"-c{concurrency}", f"-d{max(1, round(seconds))}s", "--latency", "-s", str(script),
        f"http://{address[0]}:{address[1]}/",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output = (await process.communicate())[0].decode()
    rate, median = re.search(r"Requests/sec:\s*([\d.]+)", output), re.search(r"50%\s+([\d.]+)(us|ms|s)", output)
    if process.returncode or rate is None or median is None or "Non-2xx" in output or "Socket errors" in output:
        raise Failed(f"wrk: {output}")
    late = re.search(r"99%\s+([\d.]+)(us|ms|s)", output)
    unit = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    return Sample(
        float(rate[1]), float(median[1]) * unit[median[2]], float(late[1]) * unit[late[2]] if late else 0.0
    )  # fmt: skip

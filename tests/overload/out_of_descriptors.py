"""A server in a process whose descriptors run out, and come back. Prints what it saw; exit code 0: as it should be."""

from __future__ import annotations

import asyncio
import os
import resource
import sys

from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.server import ObjectServer
from tierproxy.testing.memory_store import MemoryStore
from tierproxy.testing.wire import LOOPS, Client, connected

LIMIT = 128
HEALTH = "GET /-/health HTTP/1.1"


async def run() -> None:
    settings = ListenSection(address="127.0.0.1:0", auth="none")
    server = ObjectServer(settings, ObjectApp(MemoryStore(), Open(), settings, SystemClock()), SystemClock(), most=1000)
    await server.start()
    assert server.address is not None
    async with connected(server) as first:
        assert (await first.request(HEALTH))[0] == 200
        visitor = await _started(server.address)  # connects only when it is told to: it needs a descriptor of its own
        taken = []
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            pass
        visitor.stdin.write(b"go\n")  # type: ignore[union-attr]
        while not server.overload()["accept failed"]:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert server.overload()["accept failed"] <= 5, "the loop does nothing else"
        for descriptor in taken:
            os.close(descriptor)
        answer = await visitor.stdout.readline()  # type: ignore[union-attr]
        assert answer == b"200\n", answer
        await visitor.wait()
    await server.stop(0)
    print("served again")


async def _started(address: tuple[str, int]) -> asyncio.subprocess.Process:
    """A client in a process of its own, whose limit is not ours."""
    host, port = address
    return await asyncio.create_subprocess_exec(
        sys.executable, __file__, "visit", host, str(port), stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def visit(host: str, port: int) -> None:
    sys.stdin.readline()
    client = Client(*await asyncio.open_connection(host, port))
    status, _, _ = await client.request(HEALTH)
    await client.close()
    print(status, flush=True)


def main(arguments: list[str]) -> None:
    if arguments[0] == "visit":
        asyncio.run(visit(arguments[1], int(arguments[2])))
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, hard))
    with asyncio.Runner(loop_factory=LOOPS[arguments[0]]) as runner:
        runner.run(run())


if __name__ == "__main__":
    main(sys.argv[1:])

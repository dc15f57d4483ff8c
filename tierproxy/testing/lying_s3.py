"""An S3 front that lies by rule, before an S3 server that does not (``tierproxy.testing.lies`` has the lies).

async with lying("127.0.0.1", 8333) as front:         # in this loop
    front.tell(Rule("wrong etag", kinds=("PUT",), times=1))
    ... clients speak to front.endpoint ...
    front.tell()                                      # the truth again

with LyingS3("127.0.0.1", 8333, seed=1) as front:     # in a process of its own
    front.tell(Rule("slow down", chance=0.1))
    front.told()                                      # how often each lie was told since the last ``told``
"""

from __future__ import annotations

import asyncio
import html
import json
import random
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tierproxy.testing.lies import BENDS, DELIVERIES, FAKES, Answer, Ask, Memory, Rule
from tierproxy.testing.s3relay import Broken, Head, S3Relay, kind_of, read_head

LIMIT = 2**20  #: bytes of a head
CHANGES = frozenset({"PUT", "COPY", "DELETE", "CREATE", "PART", "COMPLETE", "ABORT"})
_PARTS = {"PUT": "PART", "GET": "PARTS", "DELETE": "ABORT"}


class Front:
    """``asked``: what arrived since it was last looked at, with what was told of it ("": the truth)."""

    def __init__(self, host: str, port: int, seed: int = 0) -> None:
        self.port = 0
        self.asked: list[tuple[Ask, str]] = []
        self.told: Counter[str] = Counter()
        self.memory = Memory()
        self._target = (host, port)
        self._rules: list[Rule] = []
        self._met: list[int] = []
        self._chance = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=LIMIT)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the next turn of the loop

    def tell(self, *rules: Rule) -> None:
        """loop. From now on these, the first that meets a request counts; none: the truth, and what was true before is
        forgotten."""
        if not rules:
            self.memory = Memory()
        self._rules = list(rules)
        self._met = [0] * len(rules)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(Broken, OSError, asyncio.IncompleteReadError, ValueError):
                while await self._exchange(reader, writer):
                    await writer.drain()
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False: the connection ends."""
        head = await read_head(reader)
        if "expect" in head.headers:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await body_of(reader, head)
        ask = ask_of(head, body)
        rule = self._rule(ask)
        fake = None if rule is None or rule.lie not in FAKES else FAKES[rule.lie](ask, rule, self.memory)
        if rule is not None and rule.lie in FAKES and fake is None:
            rule = None  # nothing to make it of
        self._note(ask, rule)
        answer = await self._answer(ask, rule, fake, head, body)
        if rule is not None and rule.lie in DELIVERIES:
            await DELIVERIES[rule.lie](answer, rule, writer)
            return False
        writer.write(answer.head() + (b"" if ask.method == "HEAD" else answer.body))
        return True

    async def _answer(self, ask: Ask, rule: Rule | None, fake: Answer | None, head: Head, body: bytes) -> Answer:
        unheard = rule is not None and rule.lie in {"reset", "garbage"} and ask.kind in CHANGES and not rule.applied
        if unheard or (fake is not None and rule is not None and not rule.applied):
            return fake or Answer(500, ())
        answer = await self._forward(ask, head, body)
        if fake is not None:
            return fake
        if rule is not None and rule.lie in BENDS and answer.status < 300:
            return BENDS[rule.lie](ask, rule, answer)
        return answer

    async def _forward(self, ask: Ask, head: Head, body: bytes) -> Answer:
        """The truth, remembered."""
        answer = await asked_of(self._target, ask, head, body)
        self.memory.note(ask, answer)
        return answer

    def _rule(self, ask: Ask) -> Rule | None:
        for number, rule in enumerate(self._rules):
            if not rule.meets(ask):
                continue
            if rule.times and self._met[number] >= rule.skip + rule.times:
                continue
            if rule.chance < 1 and self._chance.random() >= rule.chance:
                continue
            self._met[number] += 1
            return rule if self._met[number] > rule.skip else None
        return None

    def _note(self, ask: Ask, rule: Rule | None) -> None:
        self.asked.append((ask, "" if rule is None else rule.lie))
        if rule is not None:
            self.told[f"{rule.lie} to {ask.kind}"] += 1


def ask_of(head: Head, body: bytes) -> Ask:
    """What a request is about."""
    method, target, _ = head.first
    query = parse_qs(urlsplit(target).query, keep_blank_values=True)
    kind, key = kind_of(method, target, head.headers)
    if kind == "MULTIPART":
        kind = ("CREATE" if "uploads" in query else "COMPLETE") if method == "POST" else _PARTS.get(method, "PARTS")
    if key == "?delete":
        found = re.search(rb"<Key>(.*?)</Key>", body, re.DOTALL)
        key = html.unescape(found[1].decode()) if found else ""
    fresh = not {"continuation-token", "start-after"} & set(query)
    return Ask(kind, key, method, target, head.headers.get("range", ""), fresh)


async def body_of(reader: asyncio.StreamReader, head: Head) -> bytes:
    """As it came: with its chunks, if it has some."""
    if head.length is not None:
        return await reader.readexactly(head.length)
    found = bytearray()
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        found += line + await reader.readexactly(size + 2)
        if size == 0:
            return bytes(found)


async def asked_of(target: tuple[str, int], ask: Ask, head: Head, body: bytes) -> Answer:
    """What the server at ``target`` says to a request, over a connection of its own."""
    reader, writer = await asyncio.open_connection(*target, limit=LIMIT)
    try:
        writer.write(re.sub(rb"(?i)\r\nexpect:[^\r]*", b"", head.raw) + body)
        await writer.drain()
        found = await read_head(reader)
        silent = ask.method == "HEAD" or found.first[1] in {"204", "304"}
        content = b"" if silent else unchunked(found, await body_of(reader, found))
    finally:
        writer.transport.abort()
    lines = found.raw.decode("latin-1").rstrip("\r\n").split("\r\n")[1:]
    pairs = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    answer = Answer(int(found.first[1]), pairs).having(transfer_encoding=None, connection=None)
    return answer if silent else answer.holding(content)


def unchunked(head: Head, body: bytes) -> bytes:
    """The content of a body that came in chunks."""
    if head.length is not None:
        return body
    content, rest = bytearray(), body
    while True:
        line, _, rest = rest.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if size == 0:
            return bytes(content)
        content += rest[:size]
        rest = rest[size + 2 :]


@asynccontextmanager
async def lying(host: str, port: int, seed: int = 0) -> AsyncIterator[Front]:
    """A running front to ``host:port`` on a free loopback port."""
    front = Front(host, port, seed)
    await front.start()
    try:
        yield front
    finally:
        await front.stop()


# ---------------------------------------------------------------- in a process of its own


async def _run(host: str, port: int, seed: int) -> None:
    """Commands come as lines of JSON on standard input, answers go to standard output; ends with the input."""
    front = Front(host, port, seed)
    await front.start()
    print(json.dumps(front.port), flush=True)  # noqa: T201 -- this is the protocol
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        command = json.loads(line)
        found: dict[str, int] = {}
        if command == "told":
            found, front.told = dict(front.told), Counter()
        else:
            front.tell(*(_rule(facts) for facts in command))
        front.asked.clear()
        print(json.dumps(found), flush=True)  # noqa: T201


def _rule(facts: dict[str, Any]) -> Rule:
    headers = tuple((name, value) for name, value in facts["headers"])
    return Rule(**facts | {"headers": headers, "kinds": tuple(facts["kinds"])})


class LyingS3(S3Relay):
    """A running front in a process of its own. Ends with its owner."""

    program = "tierproxy.testing.lying_s3"

    def __init__(self, host: str, port: int, seed: int = 0) -> None:
        super().__init__(host, port)
        self._target = (*self._target, str(seed))

    def tell(self, *rules: Rule) -> None:
        """From now on these; none: the truth."""
        self.ask([asdict(rule) for rule in rules])

    def told(self) -> Counter[str]:
        """How often each lie was told since the last ``told``."""
        return Counter(self.ask("told"))


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))

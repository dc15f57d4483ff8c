"""A real node on a unix socket and a client of it, for the tests of the client."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.disk.fsio import Files
from tierproxy.errors import NoSuchKey
from tierproxy.mount.client import HttpNode, Limits
from tierproxy.mount.client_address import Address, parse_address
from tierproxy.mount.ports import File, NodeClient, Upload
from tierproxy.mount.signing import Credentials
from tierproxy.offload import ThreadPool
from tierproxy.ports import Clock
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import AccessKey, Open, SigV4
from tierproxy.s3api.grants import Grants
from tierproxy.server import ObjectServer
from tierproxy.testing.rig import BUCKET, Rig, rig

CREDENTIALS = Credentials("AKIDEXAMPLE", "a secret", "eu-central-1")


@dataclass
class World:
    """``client``, and what others do on the node (``tierproxy.testing.contracts.node_client.Rig``)."""

    client: NodeClient
    node: Rig
    server: ObjectServer
    prefix: str

    async def put(self, key: str, body: bytes) -> None:
        await self.node.put(self.prefix + key, body)

    async def remove(self, key: str) -> None:
        await self.node.delete(self.prefix + key)

    async def body(self, key: str) -> bytes | None:
        try:
            return await self.node.get(self.prefix + key)
        except NoSuchKey:
            return None

    async def to_stub(self, key: str) -> bool:
        await self.node.purge(self.prefix + key)
        row = self.node.row(self.prefix + key)
        assert row is not None
        return await self.node.parts.stubs.has(row.name, row.generation)


@asynccontextmanager
async def client_of(
    address: Address, scratch: Path, *, clock: Clock | None = None, prefix: str = "", bucket: str = BUCKET,
    credentials: Credentials | None = None, limits: Limits | None = None,
) -> AsyncIterator[HttpNode]:  # fmt: skip
    """A client that leaves neither descriptor, file, thread nor task behind."""
    scratch.mkdir(exist_ok=True)
    threads = ThreadPool("client-test", 2)
    client = HttpNode(
        address, bucket, prefix=prefix, credentials=credentials, clock=clock or SystemClock(), files=Files(),
        threads=threads, scratch=scratch, version="1", limits=limits,
    )  # fmt: skip
    try:
        yield client
    finally:
        await client.close()
        await threads.close()
        assert not any(scratch.iterdir())


@asynccontextmanager
async def served(
    root: Path, *, signed: bool = False, tcp: bool = False, store: dict[str, Any] | None = None,
    grants: tuple[str, ...] = ("*",), access: str = "write",
) -> AsyncIterator[tuple[Rig, ObjectServer, Address]]:  # fmt: skip
    """A node with an object port, and where it is."""
    listen = ListenSection(
        address="127.0.0.1:0" if tcp else "", unix_socket="" if tcp else str(root / "s3.sock"),
        auth="sigv4" if signed else "none", region=CREDENTIALS.region,
    )  # fmt: skip
    async with rig(root / "data", **(store or {})) as node:
        clock = node.parts.clock
        key = AccessKey(CREDENTIALS.id, CREDENTIALS.secret, Grants.of(grants, access))
        authenticator = SigV4([key], CREDENTIALS.region, clock) if signed else Open()
        server = ObjectServer(listen, ObjectApp(node.parts.store, authenticator, listen, clock), clock)
        await server.start()
        try:
            yield node, server, parse_address(server.url or f"unix:{listen.unix_socket}")
        finally:
            node.parts.store.feed.close()
            await server.stop(5)


@asynccontextmanager
async def world(
    root: Path, *, signed: bool = False, tcp: bool = False, prefix: str = "", limits: Limits | None = None,
    grants: tuple[str, ...] = ("*",), access: str = "write", **store: Any,
) -> AsyncIterator[World]:  # fmt: skip
    async with served(root, signed=signed, tcp=tcp, store=store, grants=grants, access=access) as (node, server, where):
        credentials = CREDENTIALS if signed else None
        async with client_of(
            where, root / "scratch", prefix=prefix, credentials=credentials, limits=limits
        ) as client:  # fmt: skip
            yield World(client, node, server, prefix)


async def send(client: NodeClient, key: str, body: bytes, *, create: bool = False, match: str = "") -> File:
    """Put ``body`` with fixed times."""
    fd = os.memfd_create("body")
    try:
        os.write(fd, body)
        return await client.put(Upload(key, fd, len(body), 1.5e9, 1.6e9, create, match))
    finally:
        os.close(fd)

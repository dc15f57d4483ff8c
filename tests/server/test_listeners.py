"""Where the object port listens: addresses, unix sockets, TLS."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tierproxy.config.sections import ListenSection
from tierproxy.errors import ConfigError
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.server import ObjectServer
from tierproxy.server.listeners import check_listen
from tierproxy.testing.certificates import write_certificate
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.memory_store import MemoryStore
from tierproxy.testing.wire import on_both_loops

GET = b"GET /-/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def build(clock: VirtualClock | None = None, **listen: Any) -> ObjectServer:
    settings = ListenSection(**{"address": "", "auth": "none", **listen})
    clock = clock or VirtualClock()
    return ObjectServer(settings, ObjectApp(MemoryStore(), Open(), settings, clock), clock)


@asynccontextmanager
async def served(clock: VirtualClock | None = None, **listen: Any) -> AsyncIterator[ObjectServer]:
    server = build(clock, **listen)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)


async def healthy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(GET)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.endswith(b"ok")


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize("address", ["0.0.0.0:9300", ":9300", "192.0.2.1:9300", "[::]:9300", "mail.example.org:9300"])
def test_an_open_port_without_authentication_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="auth = none"):
        build(address=address)
    check_listen(ListenSection(address=address, auth="sigv4"))


@pytest.mark.parametrize("address", ["127.0.0.1:9300", "127.1.2.3:0", "[::1]:9300", "localhost:9300", ""])
def test_loopback_and_unix_sockets_may_be_without_authentication(address: str) -> None:
    check_listen(ListenSection(address=address, auth="none", unix_socket="/run/x.sock"))


@pytest.mark.parametrize(
    "listen",
    [
        {"address": "", "unix_socket": ""},
        {"auth": "perhaps"},
        {"tls_certificate": "cert.pem"},
        {"unix_socket": "/run/x.sock", "unix_socket_mode": "rw"},
    ],
)
def test_a_listener_that_cannot_be_is_refused(listen: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        check_listen(ListenSection(**listen))  # type: ignore[arg-type]


@on_both_loops
async def test_a_port_of_zero_is_chosen_and_told() -> None:
    async with served(address="127.0.0.1:0") as server:
        assert server.address is not None
        assert server.address[1] > 0
        assert server.url == f"http://127.0.0.1:{server.address[1]}"
        assert await healthy(*await asyncio.open_connection(*server.address))


@on_both_loops
async def test_a_port_that_is_taken_is_a_config_error_and_leaves_nothing_open() -> None:
    async with served(address="127.0.0.1:0") as server:
        assert server.address is not None
        with pytest.raises(ConfigError, match="cannot listen"):
            await build(address=f"127.0.0.1:{server.address[1]}").start()


# ---------------------------------------------------------------- unix sockets


@on_both_loops
async def test_a_unix_socket_has_its_permissions_and_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "port.sock"
    async with served(unix_socket=str(path), unix_socket_mode="0600"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await healthy(*await asyncio.open_unix_connection(str(path)))
        assert os.listdir(tmp_path) == ["port.sock"]
    assert not os.listdir(tmp_path)


@on_both_loops
async def test_both_listeners_serve_at_once(tmp_path: Path) -> None:
    path = tmp_path / "port.sock"
    async with served(unix_socket=str(path), address="127.0.0.1:0") as server:
        assert await healthy(*await asyncio.open_unix_connection(str(path)))
        assert await healthy(*await asyncio.open_connection(*server.address))  # type: ignore[misc]


@on_both_loops
async def test_a_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "port.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with served(unix_socket=str(path)):
        assert await healthy(*await asyncio.open_unix_connection(str(path)))


@on_both_loops
async def test_a_socket_somebody_listens_on_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "port.sock"
    async with served(unix_socket=str(path)):
        with pytest.raises(ConfigError, match="another process"):
            await build(unix_socket=str(path)).start()
        assert await healthy(*await asyncio.open_unix_connection(str(path)))


@on_both_loops
async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "port.sock"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="not a socket"):
        await build(unix_socket=str(path)).start()
    assert path.read_text() == "precious"


@on_both_loops
async def test_when_one_listener_fails_the_other_is_closed_again(tmp_path: Path) -> None:
    path = tmp_path / "port.sock"
    path.write_text("precious")
    server = build(unix_socket=str(path), address="127.0.0.1:0")
    with pytest.raises(ConfigError):
        await server.start()
    with pytest.raises(OSError):
        await asyncio.open_connection(*server.address)  # type: ignore[misc]


# ---------------------------------------------------------------- TLS


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def shown_certificate(server: ObjectServer) -> str:
    """The common name of the certificate a new connection gets, after it was used for a request."""
    assert server.address is not None
    reader, writer = await asyncio.open_connection(*server.address, ssl=client_context())
    raw = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert await healthy(reader, writer)
    name = x509.load_der_x509_certificate(raw).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    return str(name)


@on_both_loops
async def test_tls_is_served_and_old_versions_are_not(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "one")
    async with served(address="127.0.0.1:0", tls_certificate=certificate, tls_key=key) as server:
        assert await shown_certificate(server) == "one"
        assert server.url is not None
        assert server.url.startswith("https://")
        assert server._certificate is not None
        assert server._certificate.context.minimum_version is ssl.TLSVersion.TLSv1_2


@on_both_loops
async def test_an_idle_tls_client_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "one")

    def visit(address: tuple[str, int]) -> ssl.SSLSocket:
        client = client_context().wrap_socket(socket.create_connection(address))
        client.sendall(b"GET /-/health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200" in client.recv(4096)
        return client

    async with served(address="127.0.0.1:0", tls_certificate=certificate, tls_key=key) as server:
        assert server.address is not None
        idle = await asyncio.to_thread(visit, server.address)
        async with asyncio.timeout(60):
            await server.stop(300)
        idle.close()


@on_both_loops
async def test_a_connection_that_has_ended_is_gone_and_not_garbage(tmp_path: Path) -> None:
    """With TLS each kept hundreds of kilobytes until the next full collection."""
    certificate, key = write_certificate(tmp_path, "one")
    gc.collect()
    gc.disable()
    try:
        async with served(address="127.0.0.1:0", tls_certificate=certificate, tls_key=key) as server:
            await is_gone(await left(server, 1), server)
            await is_gone(await left(server, 3), server)
    finally:
        gc.enable()


async def left(server: ObjectServer, requests: int) -> ref[Any]:
    """The server's side of a connection whose client sent ``requests`` at once, and left at the first answer."""
    assert server.address is not None
    reader, writer = await asyncio.open_connection(*server.address, ssl=client_context())
    writer.write(GET.replace(b"connection: close\r\n", b"") * requests)
    assert await reader.readuntil(b"ok")
    (connection,) = server._state.connections
    writer.transport.abort()
    return ref(connection)


async def is_gone(connection: ref[Any], server: ObjectServer) -> None:
    async with asyncio.timeout(60):
        await server._state.empty.wait()
        while connection() is not None:
            await asyncio.sleep(0.001)


@on_both_loops
async def test_a_new_certificate_is_used_for_new_connections(tmp_path: Path) -> None:
    clock = VirtualClock()
    certificate, key = write_certificate(tmp_path, "one")
    async with served(clock, address="127.0.0.1:0", tls_certificate=certificate, tls_key=key) as server:
        assert await shown_certificate(server) == "one"
        write_certificate(tmp_path, "two")
        await clock.advance(1.1)
        assert await shown_certificate(server) == "two"


@on_both_loops
async def test_a_reload_may_name_other_files(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "one")
    (tmp_path / "other").mkdir()
    other, other_key = write_certificate(tmp_path / "other", "two")
    async with served(address="127.0.0.1:0", tls_certificate=certificate, tls_key=key) as server:
        server.reload(ListenSection(tls_certificate=str(tmp_path / "none"), tls_key=other_key))
        assert await shown_certificate(server) == "one"
        server.reload(ListenSection(tls_certificate=other, tls_key=other_key))
        assert await shown_certificate(server) == "two"


@on_both_loops
async def test_a_bad_new_certificate_is_logged_and_the_old_one_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = VirtualClock()
    certificate, key = write_certificate(tmp_path, "one")
    async with served(clock, address="127.0.0.1:0", tls_certificate=certificate, tls_key=key) as server:
        old_key = Path(key).read_bytes()
        write_certificate(tmp_path, "two")
        Path(key).write_bytes(old_key)  # a certificate that does not fit the key
        await clock.advance(1.1)
        assert await shown_certificate(server) == "one"
        Path(certificate).unlink()
        await clock.advance(1.1)
        assert await shown_certificate(server) == "one"
        write_certificate(tmp_path, "three")
        await clock.advance(1.1)
        assert await shown_certificate(server) == "three"
    refused = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in refused] == ["new certificate refused"] * 2


@on_both_loops
async def test_a_certificate_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    server = build(address="127.0.0.1:0", tls_certificate=str(tmp_path / "none"), tls_key=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="certificate"):
        await server.start()


@on_both_loops
async def test_plain_http_on_a_tls_port_is_no_request(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "one")
    async with served(address="127.0.0.1:0", tls_certificate=certificate, tls_key=key) as server:
        assert server.address is not None
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(GET)
        with suppress(ConnectionResetError):
            assert b" 200 " not in await reader.read()
        writer.close()


# ---------------------------------------------------------------- the Date header


@on_both_loops
async def test_the_date_header_follows_the_clock() -> None:
    clock = VirtualClock()
    async with served(clock, address="127.0.0.1:0") as server:
        for _ in range(2):
            reader, writer = await asyncio.open_connection(*server.address)  # type: ignore[misc]
            writer.write(GET)
            answer = (await reader.read()).lower()
            writer.close()
            await writer.wait_closed()
            stamp = datetime.fromtimestamp(clock.now(), UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").lower()
            assert answer.count(b"date:") == 1
            assert f"date: {stamp}".encode() in answer
            await clock.advance(60)

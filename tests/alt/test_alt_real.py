"""The alt tier and a real server that is killed, frozen, cut off, or has its peculiarities."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.alt.liars import HELLO, Liar
from tierproxy.alt.client import s3_client
from tierproxy.alt.mapping import BucketMap
from tierproxy.alt.s3 import S3Alt
from tierproxy.config.sections import AltSection, BucketSection
from tierproxy.config.values import Duration, Size
from tierproxy.embedded import EmbeddedS3, free_ports
from tierproxy.errors import AltError, AltMissing, AltRefused, AltUnavailable, AltUncertain, ConfigError
from tierproxy.model import Headers, ListRequest, ObjectName
from tierproxy.offload import ThreadPool
from tierproxy.testing.faults import BytesSource
from tierproxy.testing.relay import Mode, relay_to

NAME = ObjectName("mail", "u/1")
SHORT = {"connect_timeout": Duration(1), "request_timeout": Duration(1), "retry_timeout": Duration(1), "max_retries": 0}


@asynccontextmanager
async def s3(section: AltSection, bucket: BucketSection | None = None) -> AsyncIterator[S3Alt]:
    pool = ThreadPool("alt-test", 4)
    alt = S3Alt(section, BucketMap([bucket or BucketSection(name="mail", alt_bucket="real")]), pool)
    try:
        yield alt
    finally:
        await alt.close()
        await pool.close()


@pytest.fixture(scope="module")
def server(seaweed: EmbeddedS3) -> EmbeddedS3:
    seaweed.make_bucket("real")
    return seaweed


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedS3]:
    """A server of one's own, to be killed."""
    with EmbeddedS3(tmp_path_factory.mktemp("mortal"), "key", "secret") as one:
        one.make_bucket("real")
        yield one


async def put(alt: S3Alt, body: bytes, name: ObjectName = NAME) -> str:
    return await alt.put(name, BytesSource(body), Headers(), md5="")


async def get(alt: S3Alt, name: ObjectName = NAME) -> bytes:
    body = await alt.get(name)
    return b"".join([chunk async for chunk in body.chunks()])


async def test_a_put_whose_answer_is_lost_is_uncertain_and_done(server: EmbeddedS3) -> None:
    async with relay_to("127.0.0.1", server.ports["s3"]) as relay:
        section = server.section(endpoint=f"http://127.0.0.1:{relay.port}", **SHORT)
        async with s3(section) as alt, s3(server.section()) as direct:
            relay.mode = Mode.MUTE
            with pytest.raises(AltUncertain):
                await put(alt, b"arrived", ObjectName("mail", "lost-answer"))
            assert await get(direct, ObjectName("mail", "lost-answer")) == b"arrived"


async def test_a_missing_alt_bucket_is_refused_with_a_hint(server: EmbeddedS3) -> None:
    async with s3(server.section(), BucketSection(name="mail", alt_bucket="nowhere")) as alt:
        for call in (alt.head(NAME), alt.get(NAME), put(alt, b""), alt.delete(NAME), alt.page(ListRequest("mail"))):
            with pytest.raises(AltRefused) as caught:
                await call
            assert "bucket" in caught.value.hint


async def test_a_wrong_secret_is_refused(server: EmbeddedS3) -> None:
    async with s3(server.section(secret_access_key="wrong")) as alt:
        for call in (alt.head(NAME), alt.get(NAME), put(alt, b""), alt.delete(NAME), alt.page(ListRequest("mail"))):
            with pytest.raises(AltRefused):
                await call


async def test_keys_this_server_would_merge_are_refused_not_merged(server: EmbeddedS3) -> None:
    async with s3(server.section()) as alt:
        await put(alt, b"precious", ObjectName("mail", "a/b"))
        for key in ("a//b", "/a/b", "a\\b"):
            with pytest.raises(AltRefused):
                await put(alt, b"overwritten?", ObjectName("mail", key))
            with pytest.raises(AltMissing):
                await alt.head(ObjectName("mail", key))
            await alt.delete(ObjectName("mail", key))
        assert await get(alt, ObjectName("mail", "a/b")) == b"precious"


async def test_bytes_this_server_throws_away_are_noticed(server: EmbeddedS3) -> None:
    async with s3(server.section()) as alt:
        with pytest.raises(AltRefused):
            await put(alt, b"a directory with bytes", ObjectName("mail", "folder/"))
        with pytest.raises(AltMissing):
            await alt.head(ObjectName("mail", "folder/"))
        await put(alt, b"", ObjectName("mail", "folder/"))


async def test_unfinished_uploads_are_not_left_behind(server: EmbeddedS3) -> None:
    async def broken() -> AsyncIterator[bytes]:
        for _ in range(12):
            yield b"x" * 2**20
        raise ConnectionResetError

    section = server.section(multipart_part_size=Size(5 * 2**20))
    async with s3(section) as alt:
        with pytest.raises(ConnectionResetError):
            await alt.put_stream(ObjectName("mail", "broken"), broken(), Headers())
    client = s3_client(section)
    assert client.list_multipart_uploads(Bucket="real").get("Uploads", []) == []
    client.close()


async def test_encryption_storage_class_and_checksum_are_asked_for(server: EmbeddedS3) -> None:
    section = server.section(server_side_encryption="AES256", storage_class="STANDARD_IA", checksum=True)
    client = s3_client(section)
    async with s3(section) as alt:
        for key in ("plain", "odd\n"):
            await put(alt, b"x", ObjectName("mail", key))
            found = client.head_object(Bucket="real", Key=key)
            assert (found["ServerSideEncryption"], found["StorageClass"]) == ("AES256", "STANDARD_IA")
            assert (await alt.head(ObjectName("mail", key))).headers is not None
    client.close()


async def test_a_killed_server_is_unavailable_and_comes_back_with_its_data(mortal: EmbeddedS3) -> None:
    async with s3(mortal.section(**SHORT)) as alt:
        await put(alt, b"kept")
        mortal.kill()
        for call in (alt.head(NAME), put(alt, b"new"), alt.delete(NAME), alt.page(ListRequest("mail"))):
            with pytest.raises(AltUnavailable):
                await call
        await asyncio.to_thread(mortal.restart)
        assert await get(alt) == b"kept"


async def test_a_frozen_server_is_unavailable_to_reads_and_uncertain_to_changes(mortal: EmbeddedS3) -> None:
    async with s3(mortal.section(**SHORT)) as alt:
        await put(alt, b"kept")
        mortal.freeze()
        try:
            with pytest.raises(AltUnavailable):
                await alt.head(NAME)
            with pytest.raises(AltUncertain):
                await put(alt, b"new")
        finally:
            mortal.thaw()
        assert (await alt.head(NAME)).size in {3, 4}


def test_the_embedded_server_keeps_its_secrets_and_leaves_no_sockets(mortal: EmbeddedS3) -> None:
    assert (mortal.directory / "s3.json").stat().st_mode & 0o777 == 0o600
    mortal.stop()
    assert not [path for path in mortal._sockets() if Path(path).exists()]
    assert not mortal.running
    mortal.stop()


def test_the_embedded_server_dies_with_its_owner(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from tierproxy.embedded import EmbeddedS3\n"
        "one = EmbeddedS3(Path(sys.argv[1])); one.start(); print(one.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    owner = subprocess.run([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, check=False)
    descriptor = _pidfd(int(owner.stdout))
    if descriptor is not None:
        import select

        assert select.select([descriptor], [], [], 20)[0]
        os.close(descriptor)


def _pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when ``pid`` ends; None when it has."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def test_two_embedded_servers_do_not_share_their_data(server: EmbeddedS3) -> None:
    with pytest.raises(ConfigError):
        EmbeddedS3(server.directory, start_timeout=0).start()


def test_free_ports_are_free_with_their_grpc_ports() -> None:
    ports = free_ports()
    assert len(set(ports.values())) == len(ports) == 5


async def test_a_certificate_authority_of_ones_own_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = _self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    one = Liar(HELLO)
    tls = await asyncio.start_server(one.accept, "127.0.0.1", 0, ssl=context)
    endpoint = f"https://localhost:{tls.sockets[0].getsockname()[1]}"
    section = AltSection(endpoint=endpoint, access_key_id="a", secret_access_key="b", **SHORT)  # type: ignore[arg-type]
    try:
        for trusted in (False, True):
            if trusted:
                monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
            async with s3(section) as alt:
                for name in (NAME, ObjectName("mail", "odd\n")):
                    if trusted:
                        assert await get(alt, name) == b"hello"
                    else:
                        with pytest.raises(AltError):
                            await get(alt, name)
    finally:
        tls.close()
        await one.stop()


def _self_signed(directory: Path) -> Path:
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = directory / "server.pem"
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    return path

"""What the client signs, the object port and botocore sign alike; over TLS and plain."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mount.client_world import CREDENTIALS, client_of, send
from tests.mount.fake_node import answer, fake_node
from tests.s3api import signed as botocores
from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.mount.client import HttpNode
from tierproxy.mount.client_address import Address, parse_address
from tierproxy.mount.ports import Doubt
from tierproxy.mount.signing import Credentials, Signer, target_of
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.s3api.dates import amz_date
from tierproxy.server import ObjectServer
from tierproxy.testing.certificates import write_certificate
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.memory_store import MemoryStore

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NAMES = TEXT.filter(lambda name: bool(name) and name not in {"X-Amz-Algorithm", "X-Amz-Security-Token", "Signature"})
"""Of query parameters: all but those that say the query is signed."""
VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(str.strip)


def signer(clock: VirtualClock) -> Signer:
    return Signer(Credentials(botocores.ACCESS_KEY, botocores.SECRET, botocores.REGION), clock)


@settings(max_examples=200, deadline=None)
@given(key=TEXT, query=st.lists(st.tuples(NAMES, TEXT), max_size=3), value=VALUES)
def test_the_object_port_admits_what_the_client_signs(key: str, query: list[tuple[str, str]], value: str) -> None:
    clock = VirtualClock()
    path, parameters = target_of(f"/mail/{key}", query)
    fields = [("host", b"node:9300"), ("x-amz-meta-of", value.encode()), ("x-tierproxy-reason", b"scan")]
    sent = signer(clock).signed("PUT", path, parameters, fields, "UNSIGNED-PAYLOAD")
    headers = {name: content.decode() for name, content in sent}
    wanted = botocores.request("PUT", f"{path}?{parameters}", headers)
    assert botocores.authenticator(clock.now()).admit(wanted).identity.access_key_id == botocores.ACCESS_KEY


@pytest.mark.parametrize("query", ["", "prefix=a%2F&tierproxy-children="])
def test_botocore_signs_the_same(query: str) -> None:
    path = "/mail/a%20b/%C3%BC~%2B"
    wanted = AWSRequest("GET", f"http://node:9300{path}?{query}", headers={"Host": "node:9300"})
    S3SigV4Auth(botocores.CREDENTIALS, "s3", botocores.REGION).add_auth(wanted)
    theirs = dict(wanted.headers.items())
    clock = VirtualClock(amz_date(theirs["X-Amz-Date"]))
    sent = signer(clock).signed("GET", path, query, [("host", b"node:9300")], theirs["X-Amz-Content-SHA256"])
    assert dict(sent)["authorization"].decode() == theirs["Authorization"]


def test_the_key_of_the_day_is_derived_anew_on_the_next_day() -> None:
    clock = VirtualClock()
    one = signer(clock)
    days = []
    for _ in range(2):
        sent = dict(one.signed("GET", "/", "", [("host", b"n")], "UNSIGNED-PAYLOAD"))
        headers = {name: value.decode() for name, value in sent.items()}
        assert botocores.authenticator(clock.now()).admit(botocores.request("GET", "/", headers))
        days.append(sent["x-amz-date"][:8])
        clock.jump_wall(86_400)
    assert days[0] != days[1]


def test_secrets_do_not_show() -> None:
    assert CREDENTIALS.secret not in repr(CREDENTIALS) + repr(Signer(CREDENTIALS, VirtualClock()))


@pytest.mark.parametrize("host", ["", "elsewhere"])
async def test_bodies_are_signed_where_somebody_could_change_them_on_the_way(tmp_path: Path, host: str) -> None:
    async with (
        fake_node(tmp_path) as node,
        client_of(node.address, tmp_path / "s", credentials=CREDENTIALS) as client,
    ):
        if host:
            client._requests._address = Address(host=host, port=80)
        for body in (b"mail", b""):
            node.will(answer(200, etag=f'"{hashlib.md5(body).hexdigest()}"'))
            await send(client, "a/u.1", body)
        found = [heard.headers["x-amz-content-sha256"] for heard in node.heard]
        assert found[0] == (hashlib.sha256(b"mail").hexdigest() if host else "UNSIGNED-PAYLOAD")
        assert found[1] == hashlib.sha256(b"").hexdigest()


async def test_over_tls_the_node_is_known_by_its_certificate(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "node")
    listen = ListenSection(address="127.0.0.1:0", auth="none", tls_certificate=certificate, tls_key=key)
    server = ObjectServer(listen, ObjectApp(MemoryStore(), Open(), listen, SystemClock()), SystemClock())
    await server.start()
    try:
        assert server.url is not None
        async with client_of(parse_address(server.url), tmp_path / "s") as client:
            with pytest.raises(Doubt, match="certificate"):
                await send(client, "a/u.1", b"mail")
            trust(client, certificate)
            await send(client, "a/u.1", b"mail")
            assert (await client.open("a/u.1")).head == b"mail"
    finally:
        await server.stop(1)


def trust(client: HttpNode, certificate: str) -> None:
    client._pool._tls = ssl.create_default_context(cafile=certificate)

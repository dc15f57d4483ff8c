"""An S3 server that sends its client elsewhere: neither mail nor credentials go there, and nothing comes from there."""

from __future__ import annotations

import asyncio

import pytest

from tests.alt.liars import DATE, Liar, liar, says
from tests.lies.world import Said, World, content
from tierproxy.alt.stores import nowhere
from tierproxy.config.sections import AltSection
from tierproxy.model import ObjectName
from tierproxy.testing.lies import Rule

FOREIGN = says(200, headers=b'ETag: "x"\r\n' + DATE, body=b"the bytes of somebody else")
KINDS = ("GET", "HEAD", "PUT", "COPY", "DELETE", "LIST", "CREATE")
TOLD = {kind: {502, 503} for kind in KINDS} | {"DELETE": {204}}


async def asked(world: World, kind: str, name: ObjectName) -> Said:
    """What a client is told whose request needs ``kind`` of alt."""
    if kind == "GET":
        return await world.get(name)
    if kind == "HEAD":
        return await world.head(name)
    if kind == "PUT":
        return await world.put(name, content(name), x_tierproxy_ack="alt")
    if kind == "CREATE":
        return await world.put(name, content(name, 6 * 2**20), x_tierproxy_ack="alt")
    if kind == "COPY":
        return await world.copy(name, ObjectName("old", name.key + "-copy"))
    if kind == "DELETE":
        return await world.delete(name)
    return await world.ask("GET", f"/old?list-type=2&prefix={name.key}")


async def heard(world: World, kind: str, lie: str, host: str) -> list[bytes]:
    """What arrives at a server of somebody else's on ``host`` when alt sends its client there."""
    heads: list[bytes] = []

    async def note(one: Liar, head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head.lower())
        await FOREIGN(one, head, writer)

    name = world.name("old")
    await world.store(name, content(name))
    async with liar(note) as elsewhere:
        world.tell(Rule(lie, (kind,), url=elsewhere.endpoint.replace("127.0.0.1", host)))
        said = await asked(world, kind, name)
        await world.idle()
        world.tell()
    assert said.status in TOLD[kind]
    await world.healed()
    assert await world.stored(name) == (None if kind == "DELETE" else content(name))
    return heads


@pytest.mark.parametrize("lie", ["moved", "temporarily moved"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_redirect_to_another_host_is_not_followed(lied_to: World, kind: str, lie: str) -> None:
    assert lied_to.run(heard(lied_to, kind, lie, "localhost")) == []


@pytest.mark.parametrize("kind", ["PUT", "DELETE"])
def test_credentials_and_mail_do_not_go_to_another_port_of_the_host_either(lied_to: World, kind: str) -> None:
    heads = lied_to.run(heard(lied_to, kind, "temporarily moved", "127.0.0.1"))
    assert not [head for head in heads if b"authorization" in head or head.startswith(b"put")]


def test_a_proxy_of_the_environment_is_left_alone() -> None:
    section = AltSection(endpoint="http://s3.example.com:8333")
    assert nowhere(section, {"https_proxy": "http://proxy:3128"}) == {}
    assert nowhere(section, {})["proxy_excludes"] == "s3.example.com"
    assert nowhere(AltSection(), {})["proxy_excludes"] == "amazonaws.com"

"""Every lie an S3 server can answer a read with, on every way a read meets it: what the client sees, what is kept, and
that it is over when the lies are.

What is not in the table is answered with 503, "try again".
"""

from __future__ import annotations

import pytest

from tests.lies.reads import (
    FILL,
    HEAD,
    LARGE,
    PASS,
    RANGE,
    REPAIR,
    REVALIDATE,
    STREAM,
    UNKNOWN,
    WAYS,
    Way,
    judged,
    lied,
    mended,
)
from tests.lies.world import LATE, World, content
from tierproxy.testing.lies import Rule

WHOLE = (FILL, STREAM, PASS, REPAIR)
KNOWN = (*WHOLE, RANGE)
GATEWAY = "502"
TRY_AGAIN = "503"
HEADERS = {
    "gzip": (("content-encoding", "gzip"),),
    "meta": (("x-amz-meta-tierproxy-etag", "f" * 32), ("x-amz-meta-color", "blue")),
}
LIES = (
    "not found", "bare 404", "slow down", "internal error", "bare 500", "bare 503", "access denied", "expired token",
    "clock skew", "error in a 200", "empty 200", "portal in a 200", "other document in a 200", "shorter", "longer",
    "flipped bit", "wrong etag", "no etag", "other range", "late", "cut", "overrun", "reset", "reset in the head",
    "reset in the body", "HTTP/1.0", "garbage", "gzip", "meta",
)  # fmt: skip
HARMLESS = {"overrun", "gzip"}  #: the answer is right all the same
REFUSED = {"access denied", "expired token", "clock skew"}
BODILESS = {"flipped bit", "cut", "reset in the body", "overrun", "other range", "gzip"}  #: of no effect on a HEAD


def seen(way: Way, lie: str) -> set[str]:
    """What a client may see of it."""
    if way is REVALIDATE:  # the copy on disk is served whatever alt says, unless it says that there is another
        return {"200", "404"} if lie == "not found" else {"200"}
    if lie in HARMLESS or (way is HEAD and lie in BODILESS):
        return {"200", "206"}
    if lie in REFUSED:
        return {GATEWAY}
    return SEEN.get((way, lie), {TRY_AGAIN})


SEEN: dict[tuple[Way, str], set[str]] = {
    (UNKNOWN, "not found"): {"404"},  # the catalogue knows no better
    **{(UNKNOWN, lie): {GATEWAY} for lie in ("error in a 200", "empty 200", "portal in a 200", "shorter", "longer")},
    **{(UNKNOWN, lie): {GATEWAY} for lie in ("other document in a 200", "flipped bit", "wrong etag", "no etag")},
    (UNKNOWN, "meta"): {GATEWAY},
    **{(HEAD, lie): {GATEWAY} for lie in ("error in a 200", "empty 200", "portal in a 200", "no etag")},
    **{(HEAD, lie): {"200"} for lie in ("not found", "bare 404")},  # a GET is asked, and tells the truth
    **{(way, lie): {GATEWAY} for way in WHOLE for lie in ("error in a 200", "empty 200", "portal in a 200", "no etag")},
    (RANGE, "no etag"): {GATEWAY},
    **{(way, "flipped bit"): {GATEWAY} for way in (FILL, REPAIR)},
    **{(way, "flipped bit"): {GATEWAY, "cut"} for way in (STREAM, PASS)},
    **{(way, lie): {GATEWAY, TRY_AGAIN, "cut"} for way in (STREAM, PASS) for lie in ("shorter", "longer")},
    **{(way, "cut"): {TRY_AGAIN, "cut"} for way in (STREAM, PASS)},
    **{(way, "reset in the body"): {TRY_AGAIN, "cut"} for way in (STREAM, PASS)},
    **{(RANGE, lie): {GATEWAY, "cut"} for lie in ("shorter", "longer")},
    **{(way, "meta"): {"200", "206"} for way in KNOWN},
    **{(way, "other range"): {"200"} for way in (FILL, STREAM, PASS, REPAIR, UNKNOWN)},
}  # fmt: skip
UNSEEN = {(RANGE, "flipped bit")}
"""Of a part of a large object nobody can say whether it is right: alt's ETag is of the whole."""
BELIEVED = {(HEAD, lie) for lie in ("shorter", "longer", "wrong etag", "meta", "other document in a 200")}
"""What nobody has ever heard of is what alt says it is, until its bytes are here."""
CASES = [(way, lie) for way in WAYS for lie in LIES if (way, lie) not in UNSEEN | BELIEVED]
ALIKE = {"bare 500", "bare 503", "expired token", "clock skew", "empty 200", "bare 404", "reset in the head", "late"}
BRIEF = [case for case in CASES if case[0] in {UNKNOWN, PASS} or (case[0] is not STREAM and case[1] not in ALIKE)]
"""Those that stand for the rest in every run (the rest: ``every_lie.py``)."""


async def told(world: World, way: Way, lie: str) -> None:
    """Tell it, and look."""
    rule = Rule("headers", way.kinds, headers=HEADERS[lie]) if lie in HEADERS else Rule(lie, way.kinds, seconds=LATE)
    name, body, said = await lied(world, way, rule)
    assert await judged(world, way, name, body, said) == []
    assert str(said).replace("206", "200") in {one.replace("206", "200") for one in seen(way, lie)}
    assert await mended(world, way, name, body) == []


@pytest.mark.parametrize(("way", "lie"), BRIEF, ids=str)
def test_no_lie_is_served_or_kept(lied_to: World, way: Way, lie: str) -> None:
    lied_to.run(told(lied_to, way, lie))


@pytest.mark.parametrize("lie", ["shorter", "longer", "wrong etag", "meta"])
def test_what_was_only_hearsay_is_corrected_by_what_alt_says_next(lied_to: World, lie: str) -> None:
    async def steps() -> None:
        rule = Rule("headers", HEAD.kinds, headers=HEADERS[lie]) if lie in HEADERS else Rule(lie, HEAD.kinds)
        name, body, said = await lied(lied_to, HEAD, rule)
        assert said.status == 200
        lied_to.tell()
        found = await lied_to.get(name)
        assert (found.status, found.body) == (200, body)
        assert await mended(lied_to, HEAD, name, body) == []

    lied_to.run(steps())


@pytest.mark.parametrize("way", [FILL, STREAM, PASS, RANGE, REPAIR], ids=str)
def test_another_objects_body_is_not_served(lied_to: World, way: Way) -> None:
    async def steps() -> None:
        other = lied_to.name(way.bucket)
        await way.prepare(lied_to, other, content(other, way.size))
        assert (await way.read(lied_to, other)).status in {200, 206}
        name, body, said = await lied(lied_to, way, Rule("another object", way.kinds, other=other.key))
        assert lied_to.front.told["another object to GET"]
        assert await judged(lied_to, way, name, body, said) == []
        assert str(said) == TRY_AGAIN
        assert await mended(lied_to, way, name, body) == []

    lied_to.run(steps())


@pytest.mark.parametrize("kinds", [("GET",), ("HEAD", "GET")])
def test_a_404_for_what_was_just_written_is_never_not_there(lied_to: World, kinds: tuple[str, ...]) -> None:
    async def steps() -> None:
        for bucket in ("mail", "old"):
            name = lied_to.name(bucket)
            body = content(name)
            assert (await lied_to.put(name, body)).status == 200
            lied_to.tell(Rule("not found", kinds, key=name.key))
            assert (await lied_to.get(name)).body == body
            assert (await lied_to.head(name)).status == 200
            await lied_to.purge(name)
            assert (await lied_to.get(name)).status == 503
            assert (await lied_to.head(name)).status == 200
            assert ("lost in alt", str(name)) in lied_to.rig.parts.alarms.active()
            assert await mended(lied_to, FILL, name, body) == []

    lied_to.run(steps())


def test_a_whole_object_in_answer_to_a_range_is_no_range(lied_to: World) -> None:
    async def steps() -> None:
        name = lied_to.name()
        body = content(name, LARGE)
        await PASS.prepare(lied_to, name, body)
        assert (await PASS.read(lied_to, name)).body == body
        lied_to.tell(Rule("whole to a range", ("GET",)))
        said = await RANGE.read(lied_to, name)
        assert lied_to.front.told["whole to a range to GET"]
        assert str(said) == TRY_AGAIN
        assert await mended(lied_to, RANGE, name, body) == []

    lied_to.run(steps())


@pytest.mark.parametrize("lie", ["trickle", "late"])
def test_what_comes_slowly_and_in_time_is_served(lied_to: World, lie: str) -> None:
    async def steps() -> None:
        name, body, said = await lied(lied_to, FILL, Rule(lie, FILL.kinds, seconds=0.02))
        assert await judged(lied_to, FILL, name, body, said) == []
        assert said.status == 200
        await lied_to.healed()

    lied_to.run(steps())


@pytest.mark.parametrize("lie", ["not found", "slow down", "bare 500", "flipped bit", "cut", "reset"])
def test_a_lie_that_is_told_once_costs_at_most_one_try(lied_to: World, lie: str) -> None:
    async def steps() -> None:
        name, body, said = await lied(lied_to, FILL, Rule(lie, FILL.kinds, times=1))
        assert await judged(lied_to, FILL, name, body, said) == []
        assert said.status in {200, 502, 503}
        assert (await lied_to.get(name)).body == body
        assert await mended(lied_to, FILL, name, body) == []

    lied_to.run(steps())

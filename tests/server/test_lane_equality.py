"""With the hit lane every byte is what it was without."""

from __future__ import annotations

import asyncio
import random
from hashlib import md5
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.side_by_side import END, MAIL, masked, said, side_by_side
from tierproxy.config.sections import MemorySection
from tierproxy.config.values import Size
from tierproxy.testing.wire import on_both_loops

ETAG = md5(MAIL, usedforsecurity=False).hexdigest().encode()
PAST, FUTURE = b"Sun, 22 Nov 2020 08:00:00 GMT", b"Sun, 22 Nov 2099 08:00:00 GMT"


def get(target: bytes = b"/mail/a", *lines: bytes, method: bytes = b"GET") -> bytes:
    return b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"host: x", *lines, b"", b""])


LANED = {
    "plain": get(),
    "HEAD": get(method=b"HEAD"),
    "empty": get(b"/mail/b"),
    "with all headers": get(b"/mail/c"),
    "HEAD with all headers": get(b"/mail/c", method=b"HEAD"),
    "another notation": get(b"/mail/%61"),
    "encoded": get(b"/mail/d%20e/%C3%A9%2B~"),
    "plus": get(b"/mail/d%20e/%c3%a9+~"),
    "empty query": get(b"/mail/a?"),
    "names the operation": get(b"/mail/a?x-id=GetObject"),
    "keep-alive": get(b"/mail/a", b"Connection: keep-alive"),
    "own header": get(b"/mail/a", b"X-Whatever: 1", b"Accept: */*"),
    "space around a value": get(b"/mail/a", b"X-Whatever:  \t 1 \t "),
    "range": get(b"/mail/a", b"Range: bytes=3-10"),
    "range to the end": get(b"/mail/a", b"range: bytes=5-"),
    "suffix": get(b"/mail/a", b"range: bytes=-7"),
    "suffix longer than all": get(b"/mail/a", b"range: bytes=-70000"),
    "range of a HEAD": get(b"/mail/a", b"range: bytes=1-2", method=b"HEAD"),
    "ranges": get(b"/mail/a", b"range: bytes=0-1,3-4"),
    "odd range": get(b"/mail/a", b"range: lines=0-1"),
    "if-match": get(b"/mail/a", b'if-match: "%b"' % ETAG),
    "if-none-match other": get(b"/mail/a", b'if-none-match: "other"'),
    "not modified": get(b"/mail/a", b'if-none-match: "%b"' % ETAG),
    "not modified, weak": get(b"/mail/a", b'if-none-match: W/"%b", "x"' % ETAG),
    "not modified with cache-control": get(b"/mail/c", b"if-none-match: *"),
    "not modified HEAD": get(b"/mail/c", b"if-none-match: *", method=b"HEAD"),
    "not modified since": get(b"/mail/a", b"if-modified-since: " + FUTURE),
    "modified since": get(b"/mail/a", b"if-modified-since: " + PAST),
    "unmodified since": get(b"/mail/a", b"if-unmodified-since: " + FUTURE),
    "no date": get(b"/mail/a", b"if-modified-since: tomorrow"),
    "if-range holds": get(b"/mail/a", b"range: bytes=1-2", b'if-range: "%b"' % ETAG),
    "if-range does not": get(b"/mail/a", b"range: bytes=1-2", b'if-range: "other"'),
    "overrides": get(b"/mail/c?response-content-type=a%2Fb&response-expires=x&response-cache-control=no"),
    "overrides of a range": get(b"/mail/c?response-content-language=fr", b"range: bytes=0-0"),
    "checksums": get(b"/mail/c", b"x-amz-checksum-mode: enabled"),
    "checksums of a HEAD": get(b"/mail/c", b"x-amz-checksum-mode: ENABLED", method=b"HEAD"),
    "checksums of a range": get(b"/mail/c", b"x-amz-checksum-mode: ENABLED", b"range: bytes=0-5"),
    "digest of the body": get(b"/mail/a", b"x-amz-content-sha256: UNSIGNED-PAYLOAD"),
    "reason": get(b"/mail/a", b"x-tierproxy-reason: scan", b"x-tierproxy-owner: ann", b"x-tierproxy-folder: Inbox"),
    "accepts a stub": get(b"/mail/a", b"x-tierproxy-accept: stub"),
    "a HEAD's reason is not looked at": get(b"/mail/a", b"x-tierproxy-reason: nonsense", method=b"HEAD"),
    "signature of nobody": get(b"/mail/a", b"authorization: AWS4-HMAC-SHA256 nonsense"),
    "no host": b"GET /mail/a HTTP/1.1\r\n\r\n",
    "newline first": b"\r\n" + get(),
    "large HEAD of what is small": get(b"/mail/c", method=b"HEAD"),
    "traceparent": get(b"/mail/a", b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
}

ORDINARY = {
    "not there": get(b"/mail/none"),
    "no bucket": get(b"/nobody/a"),
    "list": get(b"/mail"),
    "bucket with a slash": get(b"/mail/"),
    "buckets": get(b"/"),
    "health": get(b"/-/health"),
    "large": get(b"/mail/large", b"range: bytes=0-9"),
    "close": get(b"/mail/a", b"connection: close"),
    "close among others": get(b"/mail/a", b"connection: x, Close"),
    "1.0": b"GET /mail/a HTTP/1.0\r\n\r\n",
    "1.0 kept": b"GET /mail/a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    "upgrade": get(b"/mail/a", b"connection: upgrade", b"upgrade: websocket"),
    "upgrade without connection": get(b"/mail/a", b"upgrade: h2c"),
    "expect": get(b"/mail/a", b"expect: 100-continue"),
    "no body": get(b"/mail/a", b"content-length: 0"),
    "body": get(b"/mail/a", b"content-length: 4") + b"four",
    "body of a HEAD": get(b"/mail/a", b"content-length: 4", method=b"HEAD") + b"four",
    "chunked body": get(b"/mail/a", b"transfer-encoding: chunked") + b"4\r\nfour\r\n0\r\n\r\n",
    "two hosts": get(b"/mail/a", b"host: y"),
    "two ranges": get(b"/mail/a", b"range: bytes=0-1", b"range: bytes=0-2"),
    "repeated header": get(b"/mail/a", b"x-whatever: 1", b"x-whatever: 2"),
    "bad escape": get(b"/mail/%zz"),
    "zero in the key": get(b"/mail/a%00"),
    "not utf-8": get(b"/mail/%ff"),
    "raw utf-8 in the query": get("/mail/a?x-id=é".encode()),
    "part": get(b"/mail/a?partNumber=1"),
    "version": get(b"/mail/a?versionId=null"),
    "another version": get(b"/mail/a?versionId=2"),
    "unknown parameter": get(b"/mail/a?whatever"),
    "unsupported": get(b"/mail/a?tagging"),
    "parts": get(b"/mail/a?uploadId=1"),
    "override twice": get(b"/mail/a?response-expires=1&response-expires=2"),
    "override with a newline": get(b"/mail/a?response-content-type=a%0d%0ab"),
    "range beyond": get(b"/mail/a", b"range: bytes=999999-"),
    "range of nothing": get(b"/mail/b", b"range: bytes=0-1"),
    "precondition": get(b"/mail/a", b'if-match: "other"'),
    "precondition HEAD": get(b"/mail/a", b'if-match: "other"', method=b"HEAD"),
    "modified": get(b"/mail/a", b"if-unmodified-since: " + PAST),
    "malformed tags": get(b"/mail/a", b'if-match: "a'),
    "unknown reason": get(b"/mail/a", b"x-tierproxy-reason: nonsense"),
    "unknown reason, not modified": get(b"/mail/a", b"x-tierproxy-reason: nonsense", b"if-none-match: *"),
    "wrong digest": get(b"/mail/a", b"x-amz-content-sha256: nonsense"),
    "OPTIONS": get(method=b"OPTIONS"),
    "TRACE": get(method=b"TRACE"),
    "long key": get(b"/mail/" + b"a" * 2000),
}

ODD = {
    "broken chunks": get(b"/mail/a", b"transfer-encoding: chunked") + b"x\r\n",
    "length and chunks": get(b"/mail/a", b"content-length: 4", b"transfer-encoding: chunked") + b"0\r\n\r\n",
    "chunks and length": get(b"/mail/a", b"transfer-encoding: chunked", b"content-length: 4") + b"0\r\n\r\n",
    "chunks twice": get(b"/mail/a", b"transfer-encoding: chunked, identity") + b"0\r\n\r\n",
    "two lengths": get(b"/mail/a", b"content-length: 4", b"content-length: 5") + b"four",
    "same length twice": get(b"/mail/a", b"content-length: 4", b"content-length: 4") + b"four",
    "signed length": get(b"/mail/a", b"content-length: +4") + b"four",
    "space before the colon": get(b"/mail/a", b"content-length : 4") + b"four",
    "folded": get(b"/mail/a", b"x-whatever: 1\r\n 2"),
    "folded name": b"GET /mail/a HTTP/1.1\r\n host: x\r\n\r\n",
    "line feeds": b"GET /mail/a HTTP/1.1\nhost: x\n\n",
    "carriage returns": b"GET /mail/a HTTP/1.1\rhost: x\r\r",
    "control character": get(b"/mail/a", b"x-whatever: a\x01b"),
    "zero byte": get(b"/mail/a", b"x-whatever: a\0b"),
    "absolute": get(b"http://x/mail/a"),
    "absolute with another host": get(b"http://y:80/mail/a?x"),
    "two slashes": get(b"//mail/a"),
    "asterisk": get(b"*"),
    "no slash": get(b"mail/a"),
    "fragment": get(b"/mail/a#b"),
    "fragment of the query": get(b"/mail/a?x-id=GetObject#b"),
    "space in the target": get(b"/mail/a b"),
    "raw utf-8": get("/mail/é".encode()),
    "other method": get(method=b"BREW"),
    "lower-case method": get(method=b"get"),
    "CONNECT": get(b"x:1", method=b"CONNECT"),
    "other version": b"GET /mail/a HTTP/1.2\r\nhost: x\r\n\r\n",
    "HTTP/2": b"GET /mail/a HTTP/2.0\r\nhost: x\r\n\r\n",
    "preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "nonsense": b"\x16\x03\x01nonsense\r\n\r\n",
    "long head": get(b"/mail/a", b"x-whatever: " + b"a" * 70_000),
    "many headers": get(b"/mail/a", *(b"x-%d: a" % number for number in range(9000))),
    "long target": get(b"/mail/" + b"a" * 70_000),
}
"""What no client means: refused by the parser, or in a notation two parsers might read differently."""


@on_both_loops
async def test_what_the_lane_answers_is_what_the_ordinary_way_answers(tmp_path: Path) -> None:
    async with side_by_side(tmp_path) as pair:
        for what, request in LANED.items():
            answer, given = await pair.same(request)
            assert given == 1, what
            assert answer.startswith((b"HTTP/1.1 200 OK", b"HTTP/1.1 206 ", b"HTTP/1.1 304 ")), what


@on_both_loops
async def test_so_it_is_from_disk(tmp_path: Path) -> None:
    async with side_by_side(tmp_path, memory=MemorySection(max_bytes=Size(0))) as pair:
        for what, request in LANED.items():
            answer, given = await pair.same(request)
            assert given == 1, what
            assert b"x-tierproxy-tier: memory" not in answer


@on_both_loops
async def test_what_the_lane_does_not_answer_goes_the_ordinary_way(tmp_path: Path) -> None:
    async with side_by_side(tmp_path) as pair:
        await pair.same(get())  # the notation that the others are a variant of is known
        for what, request in (ORDINARY | ODD).items():
            _, given = await pair.same(request)
            assert not given, what


@on_both_loops
async def test_what_comes_in_one_packet_with_an_upgrade_is_answered_too(tmp_path: Path) -> None:
    async with side_by_side(tmp_path) as pair:
        answer, _ = await pair.same((LANED | ORDINARY)["upgrade"] + get(b"/mail/b") + END, end=b"")
        assert answer.count(b"HTTP/1.1 200 OK") == 3


@on_both_loops
async def test_answers_come_in_the_order_of_their_requests(tmp_path: Path) -> None:
    async with side_by_side(tmp_path) as pair:
        hits, others = list(LANED.values()), [get(b"/mail/none"), get(b"/mail/large"), get(b"/mail")]
        chance = random.Random(6)
        for _ in range(30):
            script = [chance.choice(hits if chance.random() < 0.6 else others) for _ in range(chance.randint(2, 12))]
            await pair.same(b"".join(script))
            await pair.same(*script)
        assert pair.given() > 100


@pytest.mark.parametrize("what", ["body", "chunked body", "body of a HEAD", "no body", "repeated header", "large"])
async def test_a_hit_behind_what_is_none_is_answered_in_its_turn(tmp_path: Path, what: str) -> None:
    async with side_by_side(tmp_path) as pair:
        answer, _ = await pair.same(get() + ORDINARY[what] + get(method=b"HEAD"))
        assert answer.count(b"HTTP/1.1 ") == 4


@on_both_loops
async def test_virtual_hosts_name_the_bucket(tmp_path: Path) -> None:
    async with side_by_side(tmp_path, listen={"domain": "s3.example"}) as pair:
        for host in (b"mail.s3.example", b"mail.s3.example:9300", b"MAIL.S3.EXAMPLE"):
            request = b"GET /a HTTP/1.1\r\nhost: %b\r\n\r\n" % host
            answer, given = await pair.same(request, request)
            assert (answer.count(b"HTTP/1.1 200"), given) == (3, 0)
            assert (await pair.same(b"GET /mail/a HTTP/1.1\r\nhost: %b\r\n\r\n" % host))[1] == 0
        assert (await pair.same(get()))[1] == 1


@on_both_loops
async def test_every_character_of_a_target_means_the_same(tmp_path: Path) -> None:
    async with side_by_side(tmp_path) as pair:
        for sign in range(0x21, 0x100):
            key = chr(sign)
            if sign < 0x7F and key not in "%?#":
                await pair.rig.put(f"x{key}", MAIL)
                await pair.rig.get(f"x{key}")
        given = 0
        for sign in range(1, 0x100):
            given += (await pair.same(get(b"/mail/x%c" % sign)))[1]
        assert given == 0x7F - 0x21 - 3


@on_both_loops
async def test_nonsense_behind_a_hit_is_refused_as_if_the_hit_had_been_answered_before(tmp_path: Path) -> None:
    async with side_by_side(tmp_path) as pair:
        for odd in ("nonsense", "fragment", "two lengths", "long head"):
            hit = masked(await said(pair.plain, [get(b"/mail/a", b"connection: close")]))
            refusal = masked(await said(pair.plain, [ODD[odd]]))
            answer = masked(await said(pair.laned, [get() + ODD[odd]]))
            assert answer == hit.replace(b"connection: close\r\n", b"") + refusal


KEPT = [
    request
    for what, request in (LANED | ORDINARY).items()
    if request.isascii() and not what.startswith(("close", "1.0"))
]
"""Requests after which a client may go on. What a client sends behind the end may cost it the answers before; so may
what the parser refuses, which is all that is not ASCII."""


def test_any_script_in_any_packets_is_answered_alike(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        sides = side_by_side(tmp_path)
        pair = runner.run(sides.__aenter__())

        @settings(max_examples=150, deadline=None)
        @given(script=st.lists(st.sampled_from(KEPT), min_size=1, max_size=6).map(b"".join), data=st.data())
        def play(script: bytes, data: st.DataObject) -> None:
            cuts = sorted(data.draw(st.lists(st.integers(0, len(script)), max_size=5)))
            edges = [0, *cuts, len(script)]
            runner.run(pair.same(*(script[begin:end] for begin, end in pairwise(edges) if begin < end)))

        try:
            play()
        finally:
            runner.run(sides.__aexit__(None, None, None))
        assert pair.given() > 30

"""Requests in which two programs could see different requests (RFC 9112, 11.2): every way in sees what a strict parser
sees, or refuses, and answers nothing behind what it refused."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.security.fronts import Front, fronts
from tests.security.strict_http import Seen, read

WAYS = ("plain", "lane", "workers")
END = b"GET /end HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
TRAP = b"GET /trap HTTP/1.1\r\nhost: x\r\n\r\n"
HIT = b"GET /hit/5 HTTP/1.1\r\nhost: x\r\n\r\n"


def put(*lines: bytes, body: bytes = b"", target: bytes = b"/p", version: bytes = b"HTTP/1.1") -> bytes:
    return b"\r\n".join([b"PUT %b %b" % (target, version), b"host: x", *lines, b"", body])


def get(*lines: bytes, target: bytes = b"/g", method: bytes = b"GET") -> bytes:
    return b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"host: x", *lines, b"", b""])


CL4, TE = b"content-length: 4", b"transfer-encoding: chunked"
UPGRADE = (b"connection: upgrade", b"upgrade: h2c")
NESTED = put(*UPGRADE, CL4, body=b"four")
CHUNKS = b"4\r\nfour\r\n0\r\n\r\n"

REFUSED: dict[str, bytes] = {
    # two lengths
    "length and chunks": put(CL4, TE, body=b"0\r\n\r\n" + TRAP),
    "chunks and length": put(TE, CL4, body=b"0\r\n\r\n" + TRAP),
    "chunks and no length": put(TE, b"content-length: 0", body=CHUNKS),
    "two lengths": put(CL4, b"content-length: 40", body=b"four" + TRAP),
    "the same length twice": put(CL4, CL4, body=b"four"),
    "a list of lengths": put(b"content-length: 4, 4", body=b"four"),
    "length with a sign": put(b"content-length: +4", body=b"four"),
    "negative length": put(b"content-length: -4", body=b"four"),
    "length in hex": put(b"content-length: 0x4", body=b"four"),
    "length with underscore": put(b"content-length: 1_0", body=b"0123456789"),
    "length with a point": put(b"content-length: 4.0", body=b"four"),
    "length of nothing": put(b"content-length:", body=TRAP),
    "length beyond 64 bits": put(b"content-length: 18446744073709551620", body=b"four" + TRAP),
    "length in other digits": put("content-length: ٤".encode(), body=b"four"),
    # transfer codings
    "chunked twice": put(TE, TE, body=CHUNKS + TRAP),
    "chunked, chunked": put(b"transfer-encoding: chunked, chunked", body=CHUNKS + TRAP),
    "chunked, identity": put(b"transfer-encoding: chunked, identity", body=CHUNKS),
    "gzip, chunked": put(b"transfer-encoding: gzip, chunked", body=CHUNKS + TRAP),
    "identity": put(b"transfer-encoding: identity", CL4, body=b"four"),
    "xchunked": put(b"transfer-encoding: xchunked", body=CHUNKS),
    "chunked in quotes": put(b'transfer-encoding: "chunked"', body=CHUNKS),
    "chunked with vertical tab": put(b"transfer-encoding: \x0bchunked", body=CHUNKS),
    "chunked with form feed": put(b"transfer-encoding: chunked\x0c", body=CHUNKS),
    "chunked with a tab behind": put(b"transfer-encoding: chunked \t", body=CHUNKS),
    "chunked with a parameter": put(b"transfer-encoding: chunked;q=1", body=CHUNKS),
    "chunked, folded": put(b"transfer-encoding:\r\n chunked", body=CHUNKS),
    "coding with space before the colon": put(b"transfer-encoding : chunked", body=CHUNKS + TRAP),
    "coding with tab before the colon": put(b"transfer-encoding\t: chunked", body=CHUNKS + TRAP),
    "coding behind a lone CR": put(b"x: y\rtransfer-encoding: chunked", body=CHUNKS),
    "coding behind a lone LF": b"PUT /p HTTP/1.1\r\nhost: x\r\nx: y\ntransfer-encoding: chunked\r\n\r\n" + CHUNKS,
    # chunks
    "chunk size with 0x": put(TE, body=b"0x4\r\nfour\r\n0\r\n\r\n"),
    "chunk size with sign": put(TE, body=b"+4\r\nfour\r\n0\r\n\r\n"),
    "chunk size with underscore": put(TE, body=b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n"),
    "negative chunk size": put(TE, body=b"-4\r\nfour\r\n0\r\n\r\n"),
    "chunk size beyond 64 bits": put(TE, body=b"100000000000000004\r\nfour\r\n0\r\n\r\n" + TRAP),
    "chunk size that wraps": put(TE, body=b"ffffffffffffffff4\r\nfour\r\n0\r\n\r\n"),
    "no chunk size": put(TE, body=b"\r\nfour\r\n0\r\n\r\n"),
    "space before the chunk size": put(TE, body=b" 4\r\nfour\r\n0\r\n\r\n"),
    "chunk size and lone LF": put(TE, body=b"4\nfour\r\n0\r\n\r\n"),
    "chunk size and lone CR": put(TE, body=b"4\rfour\r\n0\r\n\r\n"),
    "chunk longer than it says": put(TE, body=b"4\r\nfourfive\r\n0\r\n\r\n"),
    "chunk with lone LF behind": put(TE, body=b"4\r\nfour\n0\r\n\r\n"),
    "chunk with nothing behind": put(TE, body=b"4\r\nfour0\r\n\r\n"),
    "extension with a lone LF": put(TE, body=b"4;a\nb\r\nfour\r\n0\r\n\r\n"),
    "extension with a lone CR": put(TE, body=b"4;a\rb\r\nfour\r\n0\r\n\r\n"),
    "a length as a trailer": put(TE, body=b"4\r\nfour\r\n0\r\ncontent-length: 40\r\n\r\n"),
    "a coding as a trailer": put(TE, body=b"4\r\nfour\r\n0\r\ntransfer-encoding: chunked\r\n\r\n"),
    "trailer without name": put(TE, body=b"4\r\nfour\r\n0\r\n: x\r\n\r\n"),
    "trailer, folded": put(TE, body=b"4\r\nfour\r\n0\r\na: b\r\n c\r\n\r\n"),
    # lines
    "lone LF": b"GET /g HTTP/1.1\nhost: x\n\n",
    "lone CR": b"GET /g HTTP/1.1\rhost: x\r\r",
    "LF CR": b"GET /g HTTP/1.1\n\rhost: x\n\r\n\r",
    "zero byte in a value": get(b"x: a\0b"),
    "zero byte in a name": get(b"a\0b: x"),
    "zero byte in the target": get(target=b"/g\0"),
    "name with a space": get(b"content length: 4"),
    "name with a colon only": get(b": x"),
    "line without colon": get(b"content-length"),
    "space before the first name": b"GET /g HTTP/1.1\r\n host: x\r\n\r\n",
    "folded": get(b"x: a\r\n b"),
    "name that is not ASCII": get("größe: 4".encode()),
    # request line
    "HTTP/0.9": b"GET /g\r\n" + TRAP,
    "HTTP/0.9 with a head": b"GET /g HTTP/0.9\r\nhost: x\r\nconnection: keep-alive\r\n\r\n" + TRAP,
    "HTTP/1.2": b"GET /g HTTP/1.2\r\nhost: x\r\n\r\n",
    "HTTP/2.0": b"GET /g HTTP/2.0\r\nhost: x\r\nconnection: keep-alive\r\n\r\n" + TRAP,
    "HTTP/11": b"GET /g HTTP/11\r\nhost: x\r\n\r\n",
    "http/1.1": b"GET /g http/1.1\r\nhost: x\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a tab": b"GET\t/g HTTP/1.1\r\nhost: x\r\n\r\n",
    "space in the target": get(target=b"/g /h"),
    "no slash": get(target=b"g"),
    "authority": get(target=b"x:80"),
    "CONNECT": get(target=b"x:80", method=b"CONNECT") + TRAP,
    "CONNECT of a path": get(target=b"/g", method=b"CONNECT") + TRAP,
    "CONNECT with a body": get(b"content-length: %d" % len(TRAP), target=b"/g", method=b"CONNECT") + TRAP,
    "CONNECT with an upgrade and a body": get(
        b"connection: upgrade", b"upgrade: h2c", b"content-length: %d" % len(TRAP), target=b"x:80", method=b"CONNECT"
    )
    + TRAP,
    "upgrade with length and chunks": put(*UPGRADE, CL4, TE, body=b"0\r\n\r\n" + TRAP),
    "upgrade with another coding": put(*UPGRADE, b"transfer-encoding: gzip, chunked", body=CHUNKS + TRAP),
    "upgrade with a chunk that is none": put(*UPGRADE, TE, body=b"0x4\r\nfour\r\n0\r\n\r\n"),
    "upgrade to another host": put(*UPGRADE, CL4, target=b"http://y/p", body=b"four" + TRAP),
    "absolute, of another host": get(target=b"http://y/g"),
    "absolute, of two hosts": get(b"host: y", target=b"http://y/g"),
    "absolute, without a path": get(target=b"http://x?a"),
    "absolute, with a user": get(target=b"http://u@x/g"),
    "absolute, without a host": b"GET http://x/g HTTP/1.1\r\n\r\n",
    "fragment": get(target=b"/g#h"),
    "unknown method": get(method=b"SMUGGLE"),
    "method in small letters": get(method=b"get"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}
"""Each is answered by 400 alone, or by nothing, and ends the connection; whatever stands behind it is not looked at."""

SAME: dict[str, bytes] = {
    "length": put(CL4, body=b"four"),
    "no length": put(body=b""),
    "a request as a body": put(b"content-length: %d" % len(TRAP), body=TRAP),
    "chunks": put(TE, body=CHUNKS),
    "Chunks": put(b"Transfer-Encoding:  Chunked", body=CHUNKS),
    "a request as a chunk": put(TE, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(TRAP), TRAP)),
    "chunk size with zeros": put(TE, body=b"0004\r\nfour\r\n000\r\n\r\n"),
    "capital chunk size": put(TE, body=b"A\r\n0123456789\r\n0\r\n\r\n"),
    "extensions": put(TE, body=b'4;a=b;c="d"\r\nfour\r\n0;e\r\n\r\n'),
    "trailers": put(TE, body=b"4\r\nfour\r\n0\r\nx-amz-meta-a: b\r\nc: d\r\n\r\n"),
    "body of a GET": get(CL4) + b"four",
    "body of a hit": get(CL4, target=b"/hit/5") + b"four",
    "chunks of a hit": get(TE, target=b"/hit/5") + CHUNKS,
    "no body of a hit": get(b"content-length: 0", target=b"/hit/5"),
    "upgrade": get(b"connection: upgrade", b"upgrade: websocket"),
    "upgrade of a hit": get(b"connection: upgrade", b"upgrade: h2c", target=b"/hit/5"),
    "upgrade without a body": put(b"connection: upgrade", b"upgrade: h2c", b"content-length: 0"),
    "upgrade with the settings of HTTP/2": get(
        b"connection: upgrade, http2-settings", b"upgrade: h2c", b"http2-settings: AAMAAABkAAQAAP__"
    ),
    "upgrade with a body": put(*UPGRADE, b"content-length: %d" % len(TRAP), body=TRAP),
    "upgrade with chunks": put(*UPGRADE, TE, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(TRAP), TRAP)),
    "upgrade of a hit with a body": get(*UPGRADE, b"content-length: %d" % len(TRAP), target=b"/hit/5") + TRAP,
    "upgrade of a hit with chunks": get(*UPGRADE, TE, target=b"/hit/5") + CHUNKS,
    "upgrade with an expectation": put(*UPGRADE, CL4, b"expect: 100-continue", body=b"four"),
    "upgrade as the JDK asks for it": put(
        b"Connection: Upgrade, HTTP2-Settings",
        b"Content-Length: 4",
        b"HTTP2-Settings: AAEAAEAAAAIAAAAB",
        b"Upgrade: h2c",
        body=b"four",
    ),
    "two upgrades with a body": put(*UPGRADE, CL4, b"upgrade: websocket", body=b"four"),
    "upgrade in an upgrade": put(*UPGRADE, b"content-length: %d" % len(NESTED), body=NESTED),
    "absolute": get(target=b"http://x/g"),
    "absolute with another case": get(target=b"http://X/g?a"),
    "OPTIONS": get(method=b"OPTIONS"),
    "two slashes": get(target=b"//g"),
    "an empty line before": b"\r\n" + get(),
    "empty lines before a hit": b"\r\n\r\n" + HIT,
    "expectation": put(CL4, b"expect: 100-continue", body=b"four"),
    "value with colons": get(b"x: a: b:c"),
    "empty value": get(b"x:"),
    "8-bit value": get(b"x: \xff\x80"),
    "HEAD": get(method=b"HEAD"),
    "body of a HEAD": get(CL4, method=b"HEAD") + b"four",
    "keep-alive": get(b"connection: keep-alive"),
}
"""Each is one request, whose end all see alike: what follows is the next one."""

LAST: dict[str, bytes] = {
    "close": get(b"connection: close") + TRAP,
    "close among others": get(b"connection: x, Close , y") + TRAP,
    "close of a hit": get(b"connection: close", target=b"/hit/5") + TRAP,
    "1.0": b"GET /g HTTP/1.0\r\n\r\n" + TRAP,
    "1.0, to be kept": b"GET /g HTTP/1.0\r\nconnection: keep-alive\r\n\r\n" + TRAP,
    "1.0 with a body": put(CL4, body=b"four", version=b"HTTP/1.0") + TRAP,
    "connection as a trailer": put(TE, body=b"4\r\nfour\r\n0\r\nconnection: close\r\n\r\n") + TRAP,
    "upgrade and close": get(b"connection: upgrade, close", b"upgrade: h2c") + TRAP,
    "upgrade, close and a body": put(b"connection: upgrade, close", b"upgrade: h2c", CL4, body=b"four") + TRAP,
    "upgrade of 1.0 with a body": put(*UPGRADE, CL4, body=b"four", version=b"HTTP/1.0") + TRAP,
}
"""Each is one request and the last of its connection."""


async def judged(front: Front, stream: bytes, *, cuts: int = 0) -> list[int]:
    """The statuses of what ``front`` answers to ``stream``, each of which must be to a request a strict parser sees, in
    their order, without a gap; a refusal is the last."""
    wanted, _ = read(stream)
    heads = [place for place, seen in enumerate(wanted) if seen.method == "HEAD"]
    chance = random.Random(len(stream))
    edges = [0, *sorted(chance.randrange(len(stream)) for _ in range(cuts)), len(stream)]
    told = await front.told(*(stream[begin:end] for begin, end in pairwise(edges) if begin < end), heads=heads)
    refused = [place for place, one in enumerate(told) if one.status >= 400]
    assert refused in ([], [len(told) - 1]), told
    answered = [one for one in told if one.status < 400]
    assert len(answered) <= len(wanted), (told, stream)
    for one, seen in zip(answered, wanted, strict=False):
        assert one.seen in ({str(normal(seen))} if not is_hit(seen) else {"", str(normal(seen))}), (one, seen)
    assert set(front.app.asked) <= {str(normal(seen)) for seen in wanted}, (front.app.asked, stream)
    return [one.status for one in told]


def is_hit(seen: Seen) -> bool:
    return seen.target.startswith("/hit/")


def normal(seen: Seen) -> Seen:
    """The target without scheme and host, as the app is told it."""
    scheme, mark, rest = seen.target.partition("://")
    if not mark or "/" in scheme:
        return seen
    path = rest.partition("/")[2] if "/" in rest else ""
    return Seen(seen.method, f"/{path}", seen.body)


async def test_what_could_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_looked_at() -> None:
    async with fronts(*WAYS) as all_of_them:
        for way, front in all_of_them.items():
            for name, request in REFUSED.items():
                found = await judged(front, request + END)
                assert found in ([400], []), (way, name, found)
                assert not front.app.asked, (way, name)
                found = await judged(front, HIT + request + END)
                # An answer on its way is cut off rather than followed by bytes that would become part of it.
                assert found in ([200, 400], [200], [400], []), (way, name, found)
                assert all("/hit/" in asked for asked in front.app.asked), (way, name)


async def test_what_all_read_alike_is_read_so() -> None:
    async with fronts(*WAYS) as all_of_them:
        for way, front in all_of_them.items():
            for name, request in SAME.items():
                for cuts in (0, 3):
                    found = await judged(front, HIT + request + get() + HIT + END, cuts=cuts)
                    assert found == [200] * 5, (way, name, found)


async def test_nothing_is_answered_behind_the_last_request() -> None:
    async with fronts(*WAYS) as all_of_them:
        for way, front in all_of_them.items():
            for name, request in LAST.items():
                found = await judged(front, HIT + request)
                assert found == [200, 200], (way, name, found)


async def test_a_trailer_is_no_header() -> None:
    """Of a request that comes in one packet the trailers are parsed before anybody looks at its headers."""
    async with fronts(*WAYS) as all_of_them:
        for way, front in all_of_them.items():
            told = await front.told(SAME["trailers"] + SAME["trailers"] + END)
            assert [one.names for one in told[:2]] == [("host", "transfer-encoding")] * 2, way


async def test_what_is_refused_behind_an_answer_that_waits_ends_the_connection() -> None:
    async with fronts(*WAYS) as all_of_them:
        for way, front in all_of_them.items():
            for name in ("two lengths", "lone LF", "CONNECT", "HTTP/2.0", "chunk size that wraps"):
                found = await judged(front, get() + REFUSED[name] + END)
                assert found in ([200, 400], [200], [400], []), (way, name)
                assert all("trap" not in asked for asked in front.app.asked), (way, name)


# ---------------------------------------------------------------- anything at all

SCRAPS = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"0\r\n\r\n", b"4\r\nfour\r\n", b"0", b"f", b"+", b"-",
    b"_", b"0x", b"content-length: 4\r\n", b"content-length: 0\r\n", b"Content-Length : 4\r\n", b"\r\n a",
    b"transfer-encoding: chunked\r\n", b"transfer-encoding: identity\r\n", b"connection: close\r\n",
    b"connection: upgrade\r\nupgrade: h2c\r\n", b"expect: 100-continue\r\n", b"HTTP/1.0", b"HTTP/1.1", b"\x0b", b"\xff",
    b"GET /trap HTTP/1.1\r\n", b"host: x\r\n", b"; a=b", b"trailer: a\r\n", b"four",
)  # fmt: skip
MESSAGES = st.sampled_from([HIT, TRAP, *SAME.values(), *REFUSED.values(), *LAST.values()])
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 3), st.sampled_from(SCRAPS) | st.binary(max_size=3)), max_size=4
)


def edited(stream: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """``stream`` with some of it taken out and something else put there."""
    for place, taken, scrap in edits:
        at = int(place * len(stream))
        stream = stream[:at] + scrap + stream[at + taken :]
    return stream


def drive(ways: tuple[str, ...], examples: int) -> None:
    """Random streams at each of ``ways``."""
    with asyncio.Runner() as runner:
        context = fronts(*ways)
        all_of_them = runner.run(context.__aenter__())
        try:

            @settings(max_examples=examples, deadline=None, derandomize=True)
            @given(st.lists(MESSAGES, min_size=1, max_size=3).map(b"".join), EDITS, st.integers(0, 3))
            def play(script: bytes, edits: list[tuple[float, int, bytes]], cuts: int) -> None:
                for front in all_of_them.values():
                    runner.run(judged(front, edited(script, edits) + END, cuts=cuts))

            play()
        finally:
            runner.run(context.__aexit__(None, None, None))


@pytest.mark.parametrize("ways", [("plain", "lane"), ("workers",)], ids="-".join)
def test_no_stream_whatever_is_read_otherwise_than_a_strict_parser_reads_it(ways: tuple[str, ...]) -> None:
    drive(ways, examples=150 if len(ways) > 1 else 60)

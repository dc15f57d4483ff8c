"""The front itself: it tells the truth unless it is told to lie, and counts its lies."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request

import pytest

from tests.alt.liars import liar, says
from tierproxy.testing.lies import BENDS, DELIVERIES, FAKES, LIE_ETAG, Answer, Ask, Memory, Rule
from tierproxy.testing.lying_s3 import LyingS3, ask_of, lying
from tierproxy.testing.s3relay import Head

HELLO = says(200, headers=b'ETag: "5d41402abc4b2a76b9719d911017c592"\r\n', body=b"hello")


def head_of(method: str, target: str, **headers: str) -> Head:
    return Head((method, target, "HTTP/1.1"), headers, b"")


@pytest.mark.parametrize(
    ("method", "target", "kind", "key"),
    [
        ("GET", "/b/a%20key", "GET", "a key"), ("PUT", "/b/k", "PUT", "k"), ("HEAD", "/b/k", "HEAD", "k"),
        ("POST", "/b/k?uploads", "CREATE", "k"), ("PUT", "/b/k?uploadId=1&partNumber=2", "PART", "k"),
        ("POST", "/b/k?uploadId=1", "COMPLETE", "k"), ("DELETE", "/b/k?uploadId=1", "ABORT", "k"),
        ("GET", "/b?list-type=2&prefix=p%2F", "LIST", "p/"), ("POST", "/b?delete", "DELETE", "a&b"),
    ],
)  # fmt: skip
def test_what_a_request_is_about(method: str, target: str, kind: str, key: str) -> None:
    ask = ask_of(head_of(method, target), b"<Delete><Object><Key>a&amp;b</Key></Object></Delete>")
    assert (ask.kind, ask.key) == (kind, key)


def test_every_lie_has_one_name() -> None:
    assert len(FAKES) + len(BENDS) + len(DELIVERIES) == len({*FAKES, *BENDS, *DELIVERIES})


def test_a_rule_meets_kinds_and_the_end_of_a_key() -> None:
    ask = Ask("GET", "mail/u.1", "GET", "/b/mail/u.1")
    assert Rule("cut").meets(ask)
    assert Rule("cut", ("GET",), key="u.1").meets(ask)
    assert not Rule("cut", ("PUT",)).meets(ask)
    assert not Rule("cut", key="u.2").meets(ask)


def test_what_was_true_is_remembered_for_a_head_too() -> None:
    memory, answer = Memory(), Answer(200, (("ETag", '"x"'), ("Content-Length", "5")), b"hello")
    memory.note(Ask("GET", "k", "GET", "/b/k?x-id=GetObject"), answer)
    assert memory.again(Ask("HEAD", "k", "HEAD", "/b/k")) == answer
    assert memory.again(Ask("GET", "j", "GET", "/b/j")) is None
    assert memory.other(Ask("GET", "j", "GET", "/b/j"), "k") == answer


async def _status(endpoint: str) -> tuple[int, bytes, str]:
    def ask() -> tuple[int, bytes, str]:
        try:
            with urllib.request.urlopen(f"{endpoint}/b/k", timeout=60) as answer:
                return answer.status, answer.read(), answer.headers["ETag"] or ""
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), ""

    return await asyncio.to_thread(ask)


async def test_the_front_lies_by_rule_and_tells_the_truth_otherwise() -> None:
    async with liar(HELLO) as server, lying("127.0.0.1", int(server.endpoint.rpartition(":")[2])) as front:
        assert await _status(front.endpoint) == (200, b"hello", '"5d41402abc4b2a76b9719d911017c592"')
        front.tell(Rule("slow down", ("GET",), skip=1, times=1), Rule("wrong etag", ("GET",), times=1))
        found = [(await _status(front.endpoint))[::2] for _ in range(3)]
        assert found == [
            (200, '"5d41402abc4b2a76b9719d911017c592"'), (503, ""), (200, f'"{LIE_ETAG}"')
        ]  # fmt: skip
        assert front.told == {"slow down to GET": 1, "wrong etag to GET": 1}
        assert len(server.requests) == 3


async def test_a_front_in_a_process_of_its_own() -> None:
    async with liar(HELLO) as server:
        with LyingS3("127.0.0.1", int(server.endpoint.rpartition(":")[2]), seed=3) as front:
            front.tell(Rule("internal error", ("GET",)), Rule("headers", headers=(("a", "b"),)))
            assert (await _status(front.endpoint))[0] == 500
            assert front.told() == {"internal error to GET": 1}
            front.tell()
            assert (await _status(front.endpoint))[0] == 200
            assert not front.told()

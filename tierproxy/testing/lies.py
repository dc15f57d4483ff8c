"""What an S3 server can tell its client that is not so: answers made up, answers bent, answers that never end well.

Three tables by name. ``FAKES`` make an answer up; the server behind hears of the request only if the rule says
``applied``. ``BENDS`` change the true answer. ``DELIVERIES`` send the true answer in a way it should not arrive; after
one the connection ends.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

LIE_ETAG = "0123456789abcdef0123456789abcdef"
REMEMBERED = 2000
ERROR = '<?xml version="1.0"?><Error><Code>{code}</Code><Message>so it says</Message></Error>'
S3_XML = "http://s3.amazonaws.com/doc/2006-03-01/"
PORTAL = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><p>Welcome to the network.</p></body></html>"


@dataclass(frozen=True, slots=True)
class Rule:
    """One lie and whom it meets. ``kinds``: S3 verbs as of ``Ask`` (none: all of objects and listings); ``key``: the
    end of the key; ``skip``: so many requests it would meet hear the truth first; ``times``: how often it is told, 0
    for ever; ``chance``: of being told each time."""

    lie: str
    kinds: tuple[str, ...] = ()
    key: str = ""
    skip: int = 0
    times: int = 0
    chance: float = 1.0
    applied: bool = False  #: the server gets the request, whatever is answered
    seconds: float = 0.0  #: of ``late`` and ``trickle``
    other: str = ""  #: the end of the key whose answer is told instead
    url: str = ""  #: where ``redirect`` sends
    headers: tuple[tuple[str, str], ...] = ()  #: of ``headers``: put into the answer

    def meets(self, ask: Ask) -> bool:
        meant = ask.kind in self.kinds if self.kinds else ask.kind != "BUCKET"
        return meant and (not self.key or ask.key.endswith(self.key))


@dataclass(frozen=True, slots=True)
class Ask:
    """A request. ``kind``: GET, HEAD, PUT, COPY, DELETE, LIST, BUCKET, and of multipart uploads CREATE, PART, COMPLETE,
    PARTS, ABORT. ``key``: alt's key, of a listing its prefix. ``fresh``: a listing from its beginning."""

    kind: str
    key: str
    method: str
    target: str
    range: str = ""
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """``body``: all of it, no longer chunked; ``size``: of the body, also of one that HEAD does not show."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value for other, value in self.headers if other.lower() == name.lower()), None)

    def having(self, **headers: str | None) -> Answer:
        """With these headers ("_" for "-"), None for without."""
        found = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        kept = [pair for pair in self.headers if pair[0].lower() not in found]
        added = [(name, value) for name, value in found.items() if value is not None]
        return replace(self, headers=(*kept, *added))

    def holding(self, body: bytes) -> Answer:
        """With another body, and its length."""
        return replace(self.having(content_length=str(len(body))), body=body)

    def head(self, version: str = "HTTP/1.1") -> bytes:
        lines = [f"{version} {self.status} Said", *(f"{name}: {value}" for name, value in self.headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass
class Memory:
    """True answers to reads, to be told again when they are not true any more."""

    answers: OrderedDict[tuple[str, str, str], Answer] = field(default_factory=OrderedDict)
    first_pages: dict[str, Answer] = field(default_factory=dict)

    def note(self, ask: Ask, answer: Answer) -> None:
        if answer.status not in {200, 206} or ask.kind not in {"GET", "HEAD", "LIST"}:
            return
        self.answers[ask.kind, ask.target, ask.range] = answer
        self.answers.move_to_end((ask.kind, ask.target, ask.range))
        if ask.kind == "LIST" and ask.fresh:
            self.first_pages[ask.key] = answer
        if len(self.answers) > REMEMBERED:
            self.answers.popitem(last=False)

    def again(self, ask: Ask, range: str | None = None) -> Answer | None:
        """What this request was answered before; a HEAD, too, by what a GET was answered."""
        found = self.answers.get((ask.kind, ask.target, ask.range if range is None else range))
        if found is None and ask.kind == "HEAD":
            found = next((one for (kind, target, span), one in self.answers.items()
                          if kind == "GET" and not span and target.split("?")[0] == ask.target), None)  # fmt: skip
        return found

    def other(self, ask: Ask, key: str) -> Answer | None:
        """What was answered to the same kind of request for another object."""
        for (kind, target, span), answer in reversed(self.answers.items()):
            path = target.split("?")[0]
            if kind == ask.kind and span == ask.range and target != ask.target and path.endswith(key):
                return answer
        return None


# ---------------------------------------------------------------- made up

Fake = Callable[[Ask, Rule, Memory], Answer | None]


def error(status: int, code: str = "") -> Fake:
    """S3's error document; without ``code`` no body at all, and none to HEAD."""
    body = ERROR.format(code=code) if code else ""

    def make(ask: Ask, rule: Rule, memory: Memory) -> Answer:
        shown = body if ask.method != "HEAD" else ""
        return Answer(status, (("Content-Type", "application/xml"),)).holding(shown.encode())

    return make


def said(body: bytes, kind: str) -> Fake:
    """200 and ``body``, with all that a GET of an object has."""
    facts = (("Content-Type", kind), ("ETag", f'"{LIE_ETAG}"'), ("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT"))

    def make(ask: Ask, rule: Rule, memory: Memory) -> Answer:
        return Answer(200, facts).holding(b"" if ask.method == "HEAD" else body)

    return make


def bare(body: bytes, kind: str) -> Fake:
    """200 and ``body``, from somebody who does not know what S3 is."""

    def make(ask: Ask, rule: Rule, memory: Memory) -> Answer:
        return Answer(200, (("Content-Type", kind),)).holding(b"" if ask.method == "HEAD" else body)

    return make


def redirect(status: int) -> Fake:
    def make(ask: Ask, rule: Rule, memory: Memory) -> Answer:
        body = b"" if ask.method == "HEAD" else b"<Error><Code>TemporaryRedirect</Code></Error>"
        return Answer(status, (("Location", rule.url + ask.target),)).holding(body)

    return make


def stale(ask: Ask, rule: Rule, memory: Memory) -> Answer | None:
    return memory.again(ask)


def unranged(ask: Ask, rule: Rule, memory: Memory) -> Answer | None:
    return memory.again(ask, range="") if ask.range else None


def another(ask: Ask, rule: Rule, memory: Memory) -> Answer | None:
    return memory.other(ask, rule.other)


def first_page(ask: Ask, rule: Rule, memory: Memory) -> Answer | None:
    """A later page of a listing: the first one once more."""
    return None if ask.fresh or ask.kind != "LIST" else memory.first_pages.get(ask.key)


DOUBTFUL = (
    "internal error", "bare 500", "bare 503", "error in a 200", "empty 200", "portal in a 200", "reset", "garbage",
)  # fmt: skip
"""Told in answer to a change, these leave open whether it was done."""

FAKES: dict[str, Fake] = {
    "not found": error(404, "NoSuchKey"),
    "bare 404": error(404),
    "slow down": error(503, "SlowDown"),
    "internal error": error(500, "InternalError"),
    "bare 500": error(500),
    "bare 503": error(503),
    "access denied": error(403, "AccessDenied"),
    "expired token": error(403, "ExpiredToken"),
    "clock skew": error(400, "RequestTimeTooSkewed"),
    "error in a 200": bare(ERROR.format(code="InternalError").encode(), "application/xml"),
    "empty 200": bare(b"", "application/xml"),
    "portal in a 200": bare(PORTAL, "text/html"),
    "other document in a 200": said(b'<?xml version="1.0"?><Report xmlns="' + S3_XML.encode() + b'"/>', "text/xml"),
    "moved": redirect(301),
    "temporarily moved": redirect(307),
    "stale": stale,
    "whole to a range": unranged,
    "another object": another,
    "first page again": first_page,
}

# ---------------------------------------------------------------- bent

Bend = Callable[[Ask, Rule, Answer], Answer]


def shorter(ask: Ask, rule: Rule, answer: Answer) -> Answer:
    """Half of it, and a Content-Length that says so; to HEAD, too."""
    if ask.method != "HEAD":
        return answer.holding(answer.body[: len(answer.body) // 2])
    return answer.having(content_length=str(int(answer.header("content-length") or 0) // 2))


def longer(ask: Ask, rule: Rule, answer: Answer) -> Answer:
    if ask.method != "HEAD":
        return answer.holding(answer.body + b"and more")
    return answer.having(content_length=str(int(answer.header("content-length") or 0) + 8))


def flipped(ask: Ask, rule: Rule, answer: Answer) -> Answer:
    if not answer.body:
        return answer
    body = bytearray(answer.body)
    body[len(body) // 2] ^= 1
    return replace(answer, body=bytes(body))


def wrong_etag(ask: Ask, rule: Rule, answer: Answer) -> Answer:
    """In the header and in XML. ETags of uploads in parts stay such."""
    if answer.header("etag"):
        answer = answer.having(etag=f'"{LIE_ETAG}"')
    if ask.kind in {"LIST", "COPY", "COMPLETE"}:
        answer = answer.holding(re.sub(rb"[0-9a-f]{32}(?=(-\d+)?(&|\"|<))", LIE_ETAG.encode(), answer.body))
    return answer


def no_etag(ask: Ask, rule: Rule, answer: Answer) -> Answer:
    answer = answer.having(etag=None)
    if not answer.body or ask.kind == "GET":
        return answer
    return answer.holding(re.sub(rb"<ETag>.*?</ETag>", b"", answer.body))


def no_date(ask: Ask, rule: Rule, answer: Answer) -> Answer:
    answer = answer.having(last_modified=None)
    without = re.sub(rb"<LastModified>.*?</LastModified>", b"", answer.body)
    return answer.holding(without) if answer.body and ask.kind != "GET" else answer


def other_range(ask: Ask, rule: Rule, answer: Answer) -> Answer:
    """As many bytes of another place."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.header("content-range") or "")
    if found is None:
        return answer
    first, last = int(found[1]) + 1, int(found[2]) + 1
    return answer.having(content_range=f"bytes {first}-{last}/{found[3]}")


def given_headers(ask: Ask, rule: Rule, answer: Answer) -> Answer:
    return answer.having(**dict(rule.headers))


def looping(ask: Ask, rule: Rule, answer: Answer) -> Answer:
    """Every page says that the next one is the same."""
    token = b"<IsTruncated>true</IsTruncated><NextContinuationToken>again</NextContinuationToken>"
    body = re.sub(rb"<NextContinuationToken>.*?</NextContinuationToken>", b"", answer.body)
    return answer.holding(re.sub(rb"<IsTruncated>\w+</IsTruncated>", token, body))


def no_token(ask: Ask, rule: Rule, answer: Answer) -> Answer:
    """There is more, and no word of where."""
    body = re.sub(rb"<NextContinuationToken>.*?</NextContinuationToken>", b"", answer.body)
    return answer.holding(re.sub(rb"<IsTruncated>\w+</IsTruncated>", b"<IsTruncated>true</IsTruncated>", body))


def forgetful_list(ask: Ask, rule: Rule, answer: Answer) -> Answer:
    """A listing without its last key."""
    begin, end = answer.body.rfind(b"<Contents>"), answer.body.rfind(b"</Contents>")
    return answer if begin < 0 else answer.holding(answer.body[:begin] + answer.body[end + len(b"</Contents>") :])


BENDS: dict[str, Bend] = {
    "shorter": shorter,
    "longer": longer,
    "flipped bit": flipped,
    "wrong etag": wrong_etag,
    "no etag": no_etag,
    "no date": no_date,
    "other range": other_range,
    "headers": given_headers,
    "looping list": looping,
    "list without token": no_token,
    "list without a key": forgetful_list,
}

# ---------------------------------------------------------------- badly sent

Delivery = Callable[[Answer, Rule, asyncio.StreamWriter], Awaitable[None]]


async def late(answer: Answer, rule: Rule, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(rule.seconds)
    writer.write(answer.head() + answer.body)


async def cut(answer: Answer, rule: Rule, writer: asyncio.StreamWriter) -> None:
    """The right Content-Length, half of the body, and the end of the connection."""
    writer.write(answer.head() + answer.body[: len(answer.body) // 2])


async def overrun(answer: Answer, rule: Rule, writer: asyncio.StreamWriter) -> None:
    writer.write(answer.head() + answer.body + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nextra")


async def trickle(answer: Answer, rule: Rule, writer: asyncio.StreamWriter) -> None:
    content = answer.head() + answer.body
    step = max(1, len(content) // 16)
    for start in range(0, len(content), step):
        writer.write(content[start : start + step])
        await writer.drain()
        await asyncio.sleep(rule.seconds)


async def reset(answer: Answer, rule: Rule, writer: asyncio.StreamWriter) -> None:
    reset_now(writer)


async def reset_in_head(answer: Answer, rule: Rule, writer: asyncio.StreamWriter) -> None:
    head = answer.head()
    writer.write(head[: len(head) // 2])
    await writer.drain()
    await asyncio.sleep(0.01)
    reset_now(writer)


async def reset_in_body(answer: Answer, rule: Rule, writer: asyncio.StreamWriter) -> None:
    writer.write(answer.head() + answer.body[: len(answer.body) // 2])
    await writer.drain()
    await asyncio.sleep(0.01)
    reset_now(writer)


async def old_http(answer: Answer, rule: Rule, writer: asyncio.StreamWriter) -> None:
    """A true answer as before 1997: its end is the connection's."""
    writer.write(answer.having(content_length=None, connection=None).head("HTTP/1.0") + answer.body)


async def garbage(answer: Answer, rule: Rule, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")


DELIVERIES: dict[str, Delivery] = {
    "late": late,
    "cut": cut,
    "overrun": overrun,
    "trickle": trickle,
    "reset": reset,
    "reset in the head": reset_in_head,
    "reset in the body": reset_in_body,
    "HTTP/1.0": old_http,
    "garbage": garbage,
}


def reset_now(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

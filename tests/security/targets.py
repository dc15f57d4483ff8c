"""Parsers of what strangers write, each as a function of bytes that raises if its parser does what it must not: fail in
another way than by its own error, or take more steps than there are bytes to look at.

Replayed over ``corpus/<target>/*`` and driven by hypothesis in ``test_parsers``, for longer by ``python -m
tests.security.fuzz`` (``make fuzz``).
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from tests.s3api.signed import KEY
from tierproxy.clock import SystemClock
from tierproxy.config.credentials import PasswordHash, is_token_hash
from tierproxy.config.load import examine
from tierproxy.config.sections import FoldersSection, ListenSection
from tierproxy.config.values import parse_duration, parse_share, parse_size
from tierproxy.errors import BadBody, ConfigError, NotModified, PreconditionFailed, RangeUnsatisfiable
from tierproxy.mail import dbox, metadata, mutf7
from tierproxy.mail.encoding import encoded, shown
from tierproxy.mail.headers import fields, telling
from tierproxy.mail.names import Naming
from tierproxy.mail.skeleton import skeleton
from tierproxy.model import ObjectName, Stub
from tierproxy.rules.language import parse as parse_rules
from tierproxy.rules.lint import lint
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import EMPTY_SHA256, ChunkSeed, Open, Payload, SigV4
from tierproxy.s3api.checksums import ContentCheck, content_check
from tierproxy.s3api.conditions import Conditions, parse_tags, write_precondition
from tierproxy.s3api.dates import amz_date, http_date
from tierproxy.s3api.faults import STATUS, S3Error
from tierproxy.s3api.headers import refuse_unsupported, response_overrides, stored_headers
from tierproxy.s3api.objects import Selection
from tierproxy.s3api.ranges import parse_copy_range, parse_range, resolve
from tierproxy.s3api.request import Request, split_copy_source
from tierproxy.s3api.route import find_operation
from tierproxy.s3api.stream import ChunkDecoder
from tierproxy.s3api.tokens import read_token, write_token
from tierproxy.s3api.visiting import visitor_with
from tierproxy.s3api.xmlio import document, escape, parse_complete, parse_create_bucket, parse_delete
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.memory_store import MemoryStore
from tierproxy.testing.probe import Probe

Target = Callable[[bytes], None]
NOW = amz_date("20130524T000000Z")
REFUSALS = frozenset(code for code, status in STATUS.items() if status < 500 or code == "NotImplemented")
STEPS = 20_000
STEPS_A_BYTE = 60
"""Lines of Python a parser may run, whatever it is given: so many, and so many more for each byte. What the
interpreter's own parsers do within one line (expat, re, zlib) is bounded by the sizes they are given."""


class Endless(Exception):
    """A parser ran more steps than its input is worth."""


@contextmanager
def counted(size: int, seen: set[tuple[str, int]] | None = None) -> Iterator[None]:
    """Count lines of tierproxy's code. ``seen`` collects them. Raises Endless in the midst of them."""
    left = [STEPS + STEPS_A_BYTE * size]

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            left[0] -= 1
            if seen is not None:
                seen.add((frame.f_code.co_filename, frame.f_lineno))
            if left[0] < 0:
                raise Endless(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        return line

    def call(frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        return line if "/tierproxy/" in name or "/tomllib/" in name or "/email/" in name else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        yield
    finally:
        sys.settrace(before)


def refused(call: Callable[[], object]) -> object | None:
    """What ``call`` returns, None for a refusal with a code of the table that is the client's fault."""
    try:
        return call()
    except (S3Error, BadBody) as error:
        code = error.code
    except (NotModified, PreconditionFailed, RangeUnsatisfiable):
        return None
    assert code in REFUSALS, code
    return None


# ---------------------------------------------------------------- requests


def _head(data: bytes) -> tuple[str, bytes, bytes, list[tuple[bytes, bytes]]]:
    first, *lines = data.replace(b"\r\n", b"\n").split(b"\n")
    method, _, target = first.partition(b" ")
    path, _, query = target.partition(b"?")
    pairs = [line.partition(b":") for line in lines if b":" in line]
    return method.decode("latin-1"), path, query, [(name.lower(), value) for name, _, value in pairs]


def request(data: bytes) -> None:
    """A request line and header lines: all that is read of a head before a handler runs, and by handlers."""
    found = refused(lambda: Request(*_head(data), domain="s3.example"))
    if not isinstance(found, Request):
        return
    for look in (
        SigV4([KEY], "us-east-1", VirtualClock(NOW)).admit, Open().admit, find_operation, Selection, write_precondition,
        stored_headers, refuse_unsupported, lambda it: response_overrides(it, signed=True),
        lambda it: content_check(it, size=it.decoded_length or it.content_length),
        lambda it: visitor_with(it.headers, "key", "::1", str.lower),
        lambda it: split_copy_source(it.header("x-amz-copy-source") or ""),
    ):  # fmt: skip
        refused(lambda look=look: look(found))  # type: ignore[misc]
    assert len(found.key.encode()) <= 1024
    assert "\0" not in found.key


def authorization(data: bytes) -> None:
    """The header of a signature. Nobody guesses one."""
    headers = [
        (b"host", b"x"), (b"x-amz-date", b"20130524T000000Z"), (b"x-amz-content-sha256", EMPTY_SHA256.encode()),
        (b"authorization", data),
    ]  # fmt: skip
    guard = SigV4([KEY], "us-east-1", VirtualClock(NOW))
    assert refused(lambda: guard.admit(Request("GET", b"/mail/a", b"", headers))) is None


def presigned(data: bytes) -> None:
    """The query of a signature."""
    guard = SigV4([KEY], "us-east-1", VirtualClock(NOW))
    query = b"X-Amz-Algorithm=AWS4-HMAC-SHA256&" + data
    assert refused(lambda: guard.admit(Request("GET", b"/mail/a", query, [(b"host", b"x")]))) is None


def values(data: bytes) -> None:
    """Ranges, entity tags, dates, tokens."""
    text = data.decode("latin-1")
    spec = refused(lambda: parse_range(text))
    for size in (0, 1, 1000, 2**62):
        if spec is not None:
            chosen = refused(lambda size=size: resolve(parse_range(text), size))  # type: ignore[misc,arg-type]
            assert chosen is None or 0 <= chosen.start < chosen.stop <= size  # type: ignore[attr-defined]
    refused(lambda: parse_copy_range(text))
    refused(lambda: Conditions(match=parse_tags(text)).check("etag", NOW))
    http_date(text)
    amz_date(text)
    token = refused(lambda: read_token(text))
    assert not isinstance(token, str) or read_token(write_token(token)) == token


# ---------------------------------------------------------------- bodies


def documents(data: bytes) -> None:
    """XML."""
    for parse in (parse_delete, parse_complete, parse_create_bucket):
        found: Any = refused(lambda parse=parse: parse(data))  # type: ignore[misc]
        if parse is parse_delete and found is not None:
            for target in found.targets:
                target.key.encode()
                document("Key", escape(target.key))


def chunks(data: bytes) -> None:
    """An aws-chunked body; its first byte says of which kind."""
    kinds = [Payload.CHUNKS_SIGNED, Payload.CHUNKS_SIGNED_TRAILER, Payload.CHUNKS_UNSIGNED_TRAILER]
    kind = kinds[data[0] % 3] if data else kinds[0]
    seed = ChunkSeed(b"key", "20130524T000000Z", "scope", "0" * 64)
    trailers = ("crc32",) if kind is not Payload.CHUNKS_SIGNED else ()
    decoder = ChunkDecoder(
        kind, len(data) % 64, check=ContentCheck(trailing=trailers), seed=seed if kind.signed_chunks else None,
        trailers=trailers,
    )  # fmt: skip

    def decode() -> int:
        size = sum(len(piece) for at in range(1, len(data), 7) for piece in decoder.feed(data[at : at + 7]))
        decoder.finish()
        return size

    size = refused(decode)
    assert size is None or (size == len(data) % 64 and not kind.signed_chunks), "what nobody signed was taken"


def _told(target: str, data: bytes) -> None:
    async def ask() -> int:
        store = MemoryStore()
        store.put("1", b"one")
        probe = Probe(ObjectApp(store, Open(), ListenSection(auth="none"), SystemClock()))
        await probe.post("/mail/1?uploads")
        status = (await probe.post(target, data)).status
        assert status < 400 or [name.key for name in store.objects] == ["1"]
        for told in store.told:
            told.name.key.encode()
            assert 0 <= told.at < 10**12
            assert told.times * len(store.told) < 2**50
        return status

    assert asyncio.run(ask()) < 500


def reads(data: bytes) -> None:
    """Lines about reads beside the node."""
    _told("/mail?tierproxy-reads", data)


# ---------------------------------------------------------------- mail


def mail(data: bytes) -> None:
    """An object that may be a mail, in any of its forms."""
    ends = Stub(len(data), data[: metadata.HEAD], data[max(metadata.HEAD, len(data) - metadata.TAIL) :])
    for key in ("u.1", "1700000000.a,S=1,W=2:2,S", "x"):
        said = metadata.said(key, ends)
        if said is None:
            continue
        stored = metadata.described(said, metadata.Whose("ann", "INBOX"), 1.0, {})
        assert metadata.cost(stored) <= metadata.LIMIT
        assert all(value.isascii() and value.isprintable() for value in stored.values()), stored
        facts = metadata.facts_of(stored)
        made = skeleton(facts, len(data))
        assert made is None or (data.startswith(made.head) and data.endswith(made.tail)), "made up"
    telling(data)
    fields(data, {b"from", b"subject"})
    try:
        start = dbox.start_of(data)
        dbox.trailer_in(start, len(data), data)
    except dbox.NotDbox:
        pass


def words(data: bytes) -> None:
    """Texts of headers, and names of folders."""
    text = shown(data)
    assert text.isprintable()
    assert len(encoded(text, 200)) <= 200
    name = data.decode("latin-1")
    mutf7.decoded(name)
    assert mutf7.decoded(mutf7.encoded(name)) == name


_NAMING = Naming((), FoldersSection())


def keys(data: bytes) -> None:
    """Keys, by which owner and folder are known."""
    key = data.decode("utf-8", "replace")
    owner, folder = _NAMING.said(ObjectName("mail", key))
    assert len(owner) <= 2 * len(key) + 1
    _NAMING.folder_class(folder)


# ---------------------------------------------------------------- what operators write


def rules(data: bytes) -> None:
    """A file of rules, which the dashboard takes from who may operate."""
    try:
        found = parse_rules(data.decode("utf-8", "replace"))
    except ConfigError:
        return
    lint(found, now=NOW)


def config(data: bytes) -> None:
    """A configuration file."""
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(data)
        file.flush()
        with suppress(ConfigError):
            examine(Path(file.name), {})


def credentials(data: bytes) -> None:
    """Hashes, sizes, durations and shares."""
    text = data.decode("latin-1")
    for parse in (PasswordHash.parse, parse_size, parse_duration, parse_share):
        with suppress(ConfigError):
            parse(text)
    is_token_hash(text)


TARGETS: dict[str, Target] = {
    "request": request, "authorization": authorization, "presigned": presigned, "values": values,
    "documents": documents, "chunks": chunks, "reads": reads, "mail": mail, "words": words, "keys": keys,
    "rules": rules, "config": config, "credentials": credentials,
}  # fmt: skip

CORPUS = Path(__file__).parent / "corpus"


def corpus(name: str) -> list[Path]:
    """The inputs kept for a target."""
    return sorted((CORPUS / name).glob("*"))


def run(name: str, data: bytes, seen: set[tuple[str, int]] | None = None) -> None:
    """Raises whatever is wrong."""
    with counted(len(data), seen):
        TARGETS[name](data)

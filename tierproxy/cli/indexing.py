"""What a re-index asks of the object port, for one object and for the list of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import quote

from tierproxy.cli.client import Answer, ObjectClient, Unreachable
from tierproxy.errors import NoSuchKey, PreconditionFailed
from tierproxy.mail.index import Line, Source
from tierproxy.mail.metadata import HEAD, TAIL, Whose, described, facts_of, said
from tierproxy.mail.names import Naming
from tierproxy.model import Listed, ObjectName, Stub

INDEX = {"x-tierproxy-reason": "index"}  #: a machine's read: promotes nothing, and is counted apart
META = "x-amz-meta-"
SYSTEM = ("content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires")
TRIES = 3
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Search:
    """Which objects: below ``prefix``, of ``owner`` by the naming patterns if that is not empty."""

    buckets: tuple[str, ...]
    prefix: str = ""
    owner: str = ""

    def names(self, lister: ObjectClient, naming: Naming) -> Iterator[tuple[str, Listed]]:
        """Bucket and object, in key order. An owner's objects may be anywhere, so all are listed."""
        for bucket in self.buckets:
            for listed in lister.objects(bucket, self.prefix):
                if not self.owner or naming.of(ObjectName(bucket, listed.key))[0] == self.owner:
                    yield bucket, listed


@dataclass(frozen=True, slots=True)
class Indexer:
    """``bodies``: read the ends of what has no metadata. ``write``: and store what they say."""

    bodies: bool = False
    write: bool = False

    def line(self, client: ObjectClient, name: ObjectName, naming: Naming, now: float) -> Line | None:
        """thread. None: the object is gone, or another one is in its place. Raises Unreachable, RequestError."""
        try:
            answer = _again(lambda: client.head(name, INDEX))
            return self._line(client, name, answer, naming, now)
        except (NoSuchKey, PreconditionFailed):
            return None

    def _line(self, client: ObjectClient, name: ObjectName, answer: Answer, naming: Naming, now: float) -> Line:
        metadata, size = _metadata(answer), int(answer.headers.get("content-length", 0))
        facts = facts_of(metadata)
        if "format" in facts:
            return Line(name, size, Source.METADATA, facts)
        mail = said(name.key, _again(lambda: _ends(client, name, size, answer))) if self.bodies and size else None
        if mail is None:
            return Line(name, size, Source.NOTHING, facts)
        whole = described(mail, Whose(*naming.said(name)), _written(answer, now), metadata)
        if self.write:
            _again(lambda: _store(client, name, answer, whole))
        return Line(name, size, Source.BODY, facts_of(whole), self.write)


def _again(request: Callable[[], T]) -> T:
    """Once more after a moment of silence; the client has waited for each."""
    for _ in range(TRIES - 1):
        try:
            return request()
        except Unreachable:
            continue
    return request()


def _written(answer: Answer, now: float) -> float:
    """When the object was, by its Last-Modified; ``now`` if it does not say."""
    try:
        return parsedate_to_datetime(answer.headers.get("last-modified", "")).timestamp()
    except ValueError:
        return now


def _metadata(answer: Answer) -> dict[str, str]:
    return {key.removeprefix(META): value for key, value in answer.headers.items() if key.startswith(META)}


def _ends(client: ObjectClient, name: ObjectName, size: int, answer: Answer) -> Stub:
    """Of exactly this content: a mail that is replaced meanwhile is refused (If-Match)."""
    same = INDEX | {"if-match": answer.headers.get("etag", "*")}
    if size <= HEAD + TAIL:
        whole = _read(client, name, same)
        return Stub(len(whole), whole[:HEAD], whole[HEAD:])
    head = _read(client, name, same | {"range": f"bytes=0-{HEAD - 1}"})
    return Stub(size, head, _read(client, name, same | {"range": f"bytes={size - TAIL}-{size - 1}"}))


def _read(client: ObjectClient, name: ObjectName, headers: Mapping[str, str]) -> bytes:
    with client.get(name, headers) as answer:
        return b"".join(answer.blocks())


def _store(client: ObjectClient, name: ObjectName, answer: Answer, metadata: Mapping[str, str]) -> None:
    """CopyObject onto itself with all that the object had and ``metadata``."""
    headers = {key: answer.headers[key] for key in SYSTEM if key in answer.headers}
    headers |= {META + key: value for key, value in metadata.items()}
    headers |= {
        "x-amz-copy-source": quote(f"/{name.bucket}/{name.key}", safe="/-_.~"),
        "x-amz-copy-source-if-match": answer.headers.get("etag", "*"),
        "x-amz-metadata-directive": "REPLACE",
    }
    client.put(name, b"", 0, headers)

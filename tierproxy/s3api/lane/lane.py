"""The hit lane (``tierproxy.s3api.lane.ports.Lane``): docs/decisions/0028-hit-lane.md."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from itertools import count
from weakref import ref

from tierproxy.errors import NotModified, RequestError
from tierproxy.logs import event
from tierproxy.model import Tier
from tierproxy.ports import Clock, Hot, Near
from tierproxy.s3api.auth import Authenticator, Open
from tierproxy.s3api.headers import OVERRIDES, response_overrides
from tierproxy.s3api.lane.ledger import Ledger
from tierproxy.s3api.lane.ports import Served
from tierproxy.s3api.lane.prepared import Prepared, lines, prepare
from tierproxy.s3api.numbering import RequestIds
from tierproxy.s3api.objects import SELECTING, Selection, described
from tierproxy.s3api.request import Request, bucket_of_host
from tierproxy.s3api.route import find_operation
from tierproxy.s3api.timing import origin_headers, server_timing, tiers_header
from tierproxy.s3api.visiting import visitor_with
from tierproxy.traffic import Outcome, Visitor

logger = logging.getLogger("tierproxy.s3api")

KNOWN = 10_000
"""Objects whose answers are kept prepared. One costs about 3 KB, without its content (tests/s3api/lane measures)."""
NOTHING = Served()
SWEEP = 1.0  #: seconds for which descriptors of removed files may hold their space
LARGEST = 256 * 1024  #: bytes of an object the lane answers with

STATUS = {200: b"HTTP/1.1 200 OK\r\n", 206: b"HTTP/1.1 206 Partial Content\r\n", 304: b"HTTP/1.1 304 Not Modified\r\n"}
PARAMETERS = frozenset(OVERRIDES) | {
    "X-Amz-Algorithm", "X-Amz-Content-Sha256", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-Signature",
    "X-Amz-SignedHeaders", "x-id",
}  # fmt: skip
"""Query parameters of requests the lane may answer; ``x-id`` is what some SDKs call the operation."""
METHODS = frozenset({b"GET", b"HEAD"})
_PATH = re.compile(rb"/[!\"$-.0->@-~][!\"$->@-~]*")
"""Printable ASCII without fragment; two slashes at the beginning may mean a host to a parser of URLs."""
_SAID = b"x-amz-content-sha256"  # checked even where nobody is asked to sign


class HitLane:
    """``memory``: where contents are kept between requests, the node's own or a worker's. ``domain``: of
    virtual-host-style requests, which are declined; "" for none. ``folder_class``: as ``ObjectApp``'s."""

    def __init__(
        self, near: Near, memory: Hot, authenticator: Authenticator, clock: Clock, *, domain: str = "",
        folder_class: Callable[[str], str] = str,
    ) -> None:  # fmt: skip
        self._near = near
        self._stands = near.stands
        self._memory = memory
        self._authenticator = authenticator
        self._anybody = isinstance(authenticator, Open)
        self._clock = clock
        self._domain = domain
        self._folder_class = folder_class
        self._known: dict[bytes, Prepared] = {}
        self._ledger = Ledger()
        self._failed = False
        self._swept = 0.0
        ids = RequestIds()
        self._prefix = ids.prefix.encode()
        self._numbers = count(1)

    def __repr__(self) -> str:
        return f"<HitLane, {len(self._known)} prepared>"

    def answer(
        self, method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]], peer: str, preamble: bytes
    ) -> Sequence[bytes] | None:
        """``tierproxy.s3api.lane.ports.Lane``."""
        try:
            return self._answer(method, target, headers, peer, preamble)
        except RequestError:
            return None
        except Exception as error:  # noqa: BLE001  a defect here must not cost an answer: there is another way
            if not self._failed:
                self._failed = True
                event(logger, logging.ERROR, "hit lane failed", error=repr(error), told="once")
            return None

    def take(self) -> Served:
        """``tierproxy.s3api.lane.ports.Lane``."""
        now = self._clock.monotonic()
        if now - self._swept >= SWEEP:
            self._swept = now
            self._near.sweep()
        if not self._ledger.answers:
            return NOTHING
        served = self._ledger.take(self._clock.now())
        self._memory.touch(one.name for one in served.deliveries if one.outcome is Outcome.MEMORY)
        return served

    # ---------------------------------------------------------------- the way of a request

    def _answer(
        self, method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]], peer: str, preamble: bytes
    ) -> Sequence[bytes] | None:
        if method not in METHODS:
            return None
        given = dict(headers)
        if len(given) != len(headers):  # whether it may be repeated is for the ordinary way to say
            return None
        query = b""
        known = self._known.get(target)
        if known is None or not self._stands(known.standing):
            path, _, query = target.partition(b"?")
            known = self._current(path)
            if known is None or b"#" in query or not query.isascii():
                return None
        if self._domain and bucket_of_host(given.get(b"host", b""), self._domain):
            return None
        request, access_key = None, ""
        plain = SELECTING.isdisjoint(given)
        if query or not self._anybody or _SAID in given:
            request = Request.known(method.decode(), known.path, query, given, known.name)
            if query:
                names = request.query.names()
                if not names <= PARAMETERS:
                    return None
                plain = plain and names.isdisjoint(OVERRIDES)
            access_key = self._admitted(request, known)
        if plain:
            if method == b"HEAD":
                return self._seen(200, preamble, known.held)
            return self._whole(known, visitor_with(given, access_key, peer, self._folder_class), preamble)
        if request is None:
            request = Request.known(method.decode(), known.path, query, given, known.name)
        visitor = None if method == b"HEAD" else visitor_with(given, access_key, peer, self._folder_class)
        return self._selected(known, request, visitor, preamble)

    def _admitted(self, request: Request, known: Prepared) -> str:
        """The access key of who may read it. Raises S3Error."""
        identity = self._authenticator.admit(request).identity
        access_key = identity.access_key_id
        if access_key not in known.readers:
            find_operation(request).check(request, identity.grants)
            known.readers.add(access_key)
        return access_key

    def _whole(self, known: Prepared, visitor: Visitor, preamble: bytes) -> Sequence[bytes] | None:
        """A plain GET."""
        link = known.link
        kept = None if link is None else link()
        if kept is not None:
            content, outcome, end = kept.content, Outcome.MEMORY, known.memory
        else:
            found = self._content(known)
            if found is None:
                return None
            content, outcome, timing = found
            end = known.memory if outcome is Outcome.MEMORY else known.disk + timing
        line = known.line
        if line is None or not line.open or line.visitor is not visitor or line.outcome is not outcome:
            line = known.line = self._ledger.line(known.entry, visitor, outcome, False)
        line.times += 1
        line.sent += len(content)
        return self._head(200, preamble, end), content

    def _selected(
        self, known: Prepared, request: Request, visitor: Visitor | None, preamble: bytes
    ) -> Sequence[bytes] | None:
        """With conditions, a range or parameters. ``visitor``: None: HEAD."""
        entry, selection = known.entry, Selection(request)
        overrides = response_overrides(request, signed=True)
        try:
            chosen = selection(entry)
        except NotModified:
            return self._seen(304, preamble, lines(selection.not_modified().headers) + b"\r\n")
        status, headers, _ = described(request, entry, chosen, selection, overrides)
        if visitor is None:
            return self._seen(status, preamble, lines([*headers, tiers_header(entry)]) + b"\r\n")
        found = self._content(known)
        if found is None:
            return None
        content, outcome, timing = found
        tier = Tier.MEMORY if outcome is Outcome.MEMORY else Tier.DISK
        end = lines([*headers, *origin_headers(tier, entry)]) + timing
        if chosen is not None:
            content = content[chosen.start : chosen.stop]
        line = self._ledger.line(entry, visitor, outcome, chosen is not None)
        line.times += 1
        line.sent += len(content)
        return self._head(status, preamble, end), content

    def _seen(self, status: int, preamble: bytes, end: bytes) -> Sequence[bytes]:
        """An answer without a body."""
        return (self._head(status, preamble, end),)

    def _head(self, status: int, preamble: bytes, end: bytes) -> bytes:
        """Every answer is counted here, so nothing may make it void afterwards."""
        self._ledger.answers[status] += 1
        return b"%b%bx-amz-request-id: %b%08X\r\n%b" % (
            STATUS[status], preamble, self._prefix, next(self._numbers), end,
        )  # fmt: skip

    # ---------------------------------------------------------------- what is known

    def _current(self, path: bytes) -> Prepared | None:
        """The prepared answers for ``path``, as the object is now. None: the node has to be asked."""
        known = self._known.get(path)
        if known is not None and self._stands(known.standing):
            return known
        if _PATH.fullmatch(path) is None:
            return None
        request = Request("GET", path, b"", ())
        standing = self._near.find(request.name) if request.key else None
        fresh = None if standing is None or standing.entry.size > LARGEST else prepare(request, standing)
        if fresh is None:
            self._known.pop(path, None)
            return None
        if known is None and len(self._known) >= KNOWN:
            del self._known[next(iter(self._known))]
        self._known[path] = fresh
        return fresh

    def _content(self, known: Prepared) -> tuple[bytes, Outcome, bytes] | None:
        """The whole body, where it is from, and the rest of the head. From disk it goes into memory."""
        kept = self._kept(known)
        if kept is not None:
            return kept, Outcome.MEMORY, b"\r\n"
        began = self._clock.monotonic()
        content = self._near.read(known.standing)
        if content is None or not self._stands(known.standing):
            return None
        spent = (self._clock.monotonic() - began) * 1000
        self._memory.put(known.entry, content)
        self._kept(known)
        return content, Outcome.DISK, b"server-timing: %b\r\n\r\n" % server_timing({"disk": spent})

    def _kept(self, known: Prepared) -> bytes | None:
        """The content the memory tier has, if it is that of the object as it is now."""
        link = known.link
        item = None if link is None else link()
        if item is None:
            item = self._memory.kept(known.name)
            if item is None or item.entry.generation != known.entry.generation:
                return None
            known.link = ref(item)
        return item.content

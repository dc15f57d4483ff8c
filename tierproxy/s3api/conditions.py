"""Conditional requests (RFC 9110 13): If-Match, If-Unmodified-Since, If-None-Match, If-Modified-Since, If-Range.

Precedence is that of 13.2.2. S3 also takes ETags without quotes; dates that are none are ignored, as the RFC asks.
Last-Modified has whole seconds on the wire, so comparisons truncate to them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tierproxy.errors import NotModified, PreconditionFailed
from tierproxy.s3api.dates import http_date
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.request import Request
from tierproxy.store.calls import ANYTHING, Precondition

MAX_TAGS = 100
_TAG = re.compile(r'[ \t]*(?:(W/)?"([^"]*)"|([^\s",]+))[ \t]*(?:,|$)')


@dataclass(frozen=True, slots=True)
class Tags:
    """A list of entity tags. ``anything``: it was ``*``. ``weak`` and ``strong`` are opaque tags without quotes."""

    strong: frozenset[str] = frozenset()
    weak: frozenset[str] = frozenset()
    anything: bool = False

    def match_strongly(self, etag: str) -> bool:
        """RFC 9110 8.8.3.2: a weak tag never matches."""
        return self.anything or etag in self.strong

    def match_weakly(self, etag: str) -> bool:
        return self.anything or etag in self.strong or etag in self.weak


def parse_tags(text: str) -> Tags:
    """``"a", W/"b", c`` or ``*`` -> Tags. Raises S3Error InvalidArgument."""
    text = text.strip()
    if text in {"*", '"*"'}:
        return Tags(anything=True)
    strong: set[str] = set()
    weak: set[str] = set()
    at = count = 0
    while at < len(text):
        match = _TAG.match(text, at)
        count += 1
        if match is None or count > MAX_TAGS:
            raise S3Error("InvalidArgument", "The list of entity tags is malformed.")
        (weak if match[1] else strong).add(match[2] if match[3] is None else match[3])
        at = match.end()
    if not count:
        raise S3Error("InvalidArgument", "The list of entity tags is empty.")
    return Tags(frozenset(strong), frozenset(weak))


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a read, or of a copy's source. Dates are whole seconds since the epoch."""

    match: Tags | None = None
    none_match: Tags | None = None
    unmodified_since: float | None = None
    modified_since: float | None = None

    def check(self, etag: str, modified_at: float) -> None:
        """For GET and HEAD. Raises PreconditionFailed, NotModified."""
        self._check_match(etag, modified_at)
        if self._unchanged(etag, modified_at):
            raise NotModified

    def check_copy(self, etag: str, modified_at: float) -> None:
        """For a copy's source, where 304 has no meaning. Raises PreconditionFailed."""
        self._check_match(etag, modified_at)
        if self._unchanged(etag, modified_at):
            raise PreconditionFailed

    def _check_match(self, etag: str, modified_at: float) -> None:
        if self.match is not None:
            if not self.match.match_strongly(etag):
                raise PreconditionFailed
        elif self.unmodified_since is not None and int(modified_at) > self.unmodified_since:
            raise PreconditionFailed

    def _unchanged(self, etag: str, modified_at: float) -> bool:
        if self.none_match is not None:
            return self.none_match.match_weakly(etag)
        return self.modified_since is not None and int(modified_at) <= self.modified_since


UNCONDITIONAL = Conditions()


def read_conditions(request: Request) -> Conditions:
    """The conditions of a GET or HEAD; UNCONDITIONAL if there are none. Raises S3Error InvalidArgument."""
    return _conditions(request, "")


def copy_conditions(request: Request) -> Conditions:
    """x-amz-copy-source-if-*. Raises S3Error InvalidArgument."""
    return _conditions(request, "x-amz-copy-source-")


def _conditions(request: Request, prefix: str) -> Conditions:
    match = request.header(prefix + "if-match")
    none_match = request.header(prefix + "if-none-match")
    unmodified = request.header(prefix + "if-unmodified-since")
    modified = request.header(prefix + "if-modified-since")
    if match is None and none_match is None and unmodified is None and modified is None:
        return UNCONDITIONAL
    return Conditions(
        match=None if match is None else parse_tags(match),
        none_match=None if none_match is None else parse_tags(none_match),
        unmodified_since=None if unmodified is None else http_date(unmodified),
        modified_since=None if modified is None else http_date(modified),
    )


def range_holds(if_range: str | None, etag: str, modified_at: float) -> bool:
    """Whether the Range header counts (RFC 9110 13.1.5): no If-Range, or its strong tag or date is the object's."""
    if if_range is None:
        return True
    text = if_range.strip()
    date = http_date(text)
    if date is not None:
        return date == int(modified_at)
    # A weak tag keeps its W/ and so equals none (13.1.5 asks for the strong comparison).
    return text.strip('"') == etag


CHANGE, WITHDRAW = "x-tierproxy-change", "x-tierproxy-withdraw"
"""Of conditional changes: the client's name for a PUT or CopyObject, and in the DELETE that takes it back."""
MAX_CHANGE = 64  #: characters of such a name: many that were taken back are remembered


def write_precondition(request: Request) -> Precondition:
    """What a PUT, DELETE, CopyObject or CompleteMultipartUpload asks of the object it replaces.

    ``If-None-Match: *``, or ``If-Match`` with one ETag or ``*``, as S3 has it. Raises S3Error NotImplemented,
    InvalidArgument, InvalidRequest.
    """
    if b"x-amz-if-match-size" in request.headers or b"x-amz-if-match-last-modified-time" in request.headers:
        raise S3Error("NotImplemented", "Conditions on size or time of the object replaced are not supported.")
    if request.header("if-modified-since") or request.header("if-unmodified-since"):
        raise S3Error("NotImplemented", "Changes can be conditional on ETags, not on dates.")
    match, none_match = request.header("if-match"), request.header("if-none-match")
    if match is None and none_match is None:
        return ANYTHING
    if match is not None and none_match is not None:
        raise S3Error("InvalidRequest", "If-Match and If-None-Match cannot be used together here.")
    if none_match is not None:
        if not parse_tags(none_match).anything:
            raise S3Error("NotImplemented", "If-None-Match on a change must be *.")
        return Precondition(create=True, change=_change(request, CHANGE))
    return Precondition(
        match=_single(parse_tags(match or "")), change=_change(request, CHANGE),
        withdraws=_change(request, WITHDRAW) if request.method == "DELETE" else "",
    )  # fmt: skip


def _change(request: Request, header: str) -> str:
    name = request.header(header) or ""
    if len(name) > MAX_CHANGE:
        raise S3Error("InvalidArgument", f"{header} must be at most {MAX_CHANGE} characters.")
    return name


def _single(tags: Tags) -> str:
    if tags.anything:
        return "*"
    if tags.weak or len(tags.strong) != 1:
        raise S3Error("NotImplemented", "If-Match on a change must be one strong ETag or *.")
    return next(iter(tags.strong))

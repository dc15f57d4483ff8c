"""Lines of other programs' access logs as what they say of objects. Pure: text in, nouns out.

nginx: the predefined format ``combined`` (nginx.org, ngx_http_log_module), also with fields after it, among them
``$upstream_cache_status``. S3: "Amazon S3 server access log format" (S3 User Guide).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from urllib.parse import unquote, unquote_to_bytes

from tierproxy.traffic import Outcome

LARGEST = 2**53
"""More bytes than any object has; what is beyond is no number of bytes."""


class BadLine(ValueError):
    """A line that is not of the format; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Access:
    """One request. ``at``: microseconds since the epoch. ``path``: decoded, without query; ``query`` as it came.

    ``bucket`` and ``key`` are given where the log has them in fields of their own, else None: the path decides.
    ``size`` is 0 where the log does not say.
    """

    at: int
    method: str
    path: str
    query: str
    status: int
    sent: int
    client: str
    agent: str = ""
    outcome: str = ""
    size: int = 0
    bucket: str | None = None
    key: str | None = None


Parser = Callable[[str], Access]

_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_COMBINED = re.compile(
    rf"(\S+) \S+ (.*?) ?\[([^\]]{{20,30}})\] {_QUOTED} (\d{{3}}) (\d+|-)(?: {_QUOTED} {_QUOTED}(.*))?$"
)
_ESCAPED = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|([\"\\]))")
_WORDS = re.compile(r"[^\s\"=]+")
_S3_FIELD = re.compile(r'\[([^\]]*)\]|"([^"]*)"|(\S+)')
_CACHE = {
    "HIT": Outcome.DISK, "STALE": Outcome.DISK, "UPDATING": Outcome.DISK, "REVALIDATED": Outcome.DISK,
    "MISS": Outcome.FILL, "EXPIRED": Outcome.FILL, "BYPASS": Outcome.PASS,
}  # fmt: skip
"""nginx keeps its cache on disk."""


def nginx(line: str) -> Access:
    """A line of nginx' (or Apache's) combined or common format. Raises BadLine."""
    match = _COMBINED.match(line)
    if match is None:
        raise BadLine("not of the combined format")
    address, user, when, request, status, sent, _, agent, rest = match.groups()
    method, path, query = _request(_unescaped(request))
    outcome = next((_CACHE[word] for word in _WORDS.findall(rest or "") if word in _CACHE), "")
    count, code = _number(sent), int(status)
    return Access(
        time_of(when), method, path, query, code, count, _client(user, address), agent or "", str(outcome),
        size=count if method == "GET" and code == 200 else 0,
    )  # fmt: skip


def s3(line: str) -> Access:
    """A line of an S3 server access log. Raises BadLine."""
    fields = []
    for match in _S3_FIELD.finditer(line):
        fields.append(next(text for text in match.groups() if text is not None))
        if len(fields) == 17:
            break
    if len(fields) < 13 or fields[6].count(".") < 1:
        raise BadLine("not of the S3 server access log format")
    _, bucket, when, address, requester, _, operation, key, request, status, _, sent, size, *rest = fields
    method, path, query = _s3_operation(operation, request)
    return Access(
        time_of(when), method, path, query, int(status) if status.isdigit() and len(status) == 3 else 0,
        _number(sent), _client(requester, address), rest[3] if len(rest) > 3 else "",
        size=_number(size), bucket=bucket, key=_s3_key(key, bucket, path),
    )  # fmt: skip


PARSERS: dict[str, Parser] = {"nginx": nginx, "s3": s3}

_OPERATIONS = {
    "REST.GET.OBJECT": "GET", "WEBSITE.GET.OBJECT": "GET", "REST.PUT.OBJECT": "PUT", "REST.COPY.OBJECT": "PUT",
    "REST.POST.UPLOAD": "PUT", "REST.DELETE.OBJECT": "DELETE", "BATCH.DELETE.OBJECT": "DELETE",
}  # fmt: skip
"""Operations of whole objects. The end of a multipart upload (POST.UPLOAD) is what writes the object."""


def _s3_operation(operation: str, request: str) -> tuple[str, str, str]:
    """Method, path and query. The operation says what happened to the object, the query does not matter then."""
    try:
        _, path, _ = _request(request)
    except BadLine:  # deletes of many objects have "-" here
        path = ""
    return _OPERATIONS.get(operation, operation[:40]), path, ""


def _s3_key(field: str, bucket: str, path: str) -> str | None:
    """The key field is encoded once or twice, depending on its characters and the operation: the request's path, once
    decoded, tells which."""
    if field == "-":
        return None
    once = unquote(field)
    twice = unquote(once)
    if path in {f"/{once}", f"/{bucket}/{once}"}:
        return once
    return twice if path in {f"/{twice}", f"/{bucket}/{twice}"} else once


def _request(text: str) -> tuple[str, str, str]:
    """``GET /path?query HTTP/1.1`` as method, decoded path, query."""
    method, _, rest = text.partition(" ")
    target, space, protocol = rest.rpartition(" ")
    if not space or not protocol.startswith("HTTP/"):
        raise BadLine("no request line")
    if not target.startswith("/"):  # absolute form, as to a proxy
        _, _, after = target.partition("://")
        target = "/" + after.partition("/")[2]
    path, _, query = target.partition("?")
    return method, unquote_to_bytes(path).decode(errors="replace"), query


def _unescaped(text: str) -> str:
    r"""nginx writes bytes it does not trust as ``\xHH``, Apache also ``\"`` and ``\\``."""
    if "\\" not in text:
        return text
    raw = _ESCAPED.sub(lambda match: match[2] or bytes([int(match[1], 16)]), text.encode(errors="replace"))
    return raw.decode(errors="replace")


def _client(user: str, address: str) -> str:
    return f"{user}@{address}" if user not in {"", "-"} else address


def _number(text: str) -> int:
    if text == "-":
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > 16 or int(text) > LARGEST:
        raise BadLine(f"no number of bytes: {text[:20]}")
    return int(text)


def time_of(text: str) -> int:
    """``06/Feb/2019:00:00:38 +0100`` as microseconds since the epoch. Raises BadLine."""
    minute, seconds, offset = text[:17], text[18:20], text[20:]
    if text[17:18] != ":" or not (seconds.isascii() and seconds.isdigit()) or int(seconds) > 60:
        raise BadLine(f"no time: {text[:30]}")
    return (_minute(minute, offset) + int(seconds)) * 1_000_000


@lru_cache(4096)
def _minute(text: str, offset: str) -> int:
    """The costly half of a time, the same for many lines."""
    try:
        found = datetime.strptime(f"{text}{offset}", "%d/%b/%Y:%H:%M %z").timestamp()
    except (ValueError, OverflowError) as error:
        raise BadLine(f"no time: {text[:30]}") from error
    if not 0 <= found < 2**33:
        raise BadLine(f"not in this age: {text[:30]}")
    return int(found)

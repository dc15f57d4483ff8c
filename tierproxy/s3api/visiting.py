"""Who asks, and what the request says of itself: x-tierproxy-reason, -owner and -folder. None of it is stored with the
object; like x-tierproxy-ack these headers need not be signed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from tierproxy.s3api.call import Call, Port
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.request import text_of
from tierproxy.traffic import Reason, Visitor

MAX_NAME = 255  #: characters of an owner or folder
MAX_AGENT = 512  #: bytes of a User-Agent that are looked at: visitors are remembered, and sent from worker to node
KEPT = 4096  #: visitors that are not put together again
_REASONS = {reason.value: reason for reason in Reason}


def visitor_of(port: Port, call: Call) -> Visitor:
    """Raises S3Error InvalidArgument."""
    return visitor_with(call.request.headers, call.client, call.exchange.peer, port.folder_class)


def visitor_with(
    headers: Mapping[bytes, bytes], access_key: str, peer: str, folder_class: Callable[[str], str]
) -> Visitor:
    """Who sends these headers; the same object again and again for one who sends the same. Raises S3Error
    InvalidArgument."""
    get = headers.get
    return _visitor(
        access_key, peer, get(b"user-agent", b"")[:MAX_AGENT], get(b"x-tierproxy-reason"), get(b"x-tierproxy-owner"),
        get(b"x-tierproxy-folder"), folder_class,
    )  # fmt: skip


@lru_cache(KEPT)
def _visitor(
    access_key: str, peer: str, user_agent: bytes, reason: bytes | None, owner: bytes | None, folder: bytes | None,
    folder_class: Callable[[str], str],
) -> Visitor:  # fmt: skip
    """One client sends the same again and again. Machines with one key are told apart by their address; connections
    are not: clients open several."""
    named = _name(folder, "folder")
    return Visitor(
        f"{access_key}@{peer}", access_key, text_of(user_agent), _reason(reason), _name(owner, "owner"),
        None if named is None else folder_class(named),
    )  # fmt: skip


def _reason(raw: bytes | None) -> Reason | None:
    if raw is None:
        return None
    found = _REASONS.get(text_of(raw).lower())
    if found is None:
        raise S3Error("InvalidArgument", f"x-tierproxy-reason must be one of {', '.join(_REASONS)}.")
    return found


def _name(raw: bytes | None, what: str) -> str | None:
    """None for an empty one: it names nobody."""
    text = "" if raw is None else text_of(raw)
    if len(text) > MAX_NAME or not text.isprintable():
        raise S3Error("InvalidArgument", f"x-tierproxy-{what} must be at most {MAX_NAME} printable characters.")
    return text or None

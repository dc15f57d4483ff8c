"""What alt's answers say of an object, in obstore's shape and in boto3's."""

from __future__ import annotations

from typing import Any

from tierproxy.alt.metadata import SYSTEM, Facts, from_alt
from tierproxy.alt.odd import NO_S3, system_of, unquoted
from tierproxy.errors import AltCorrupt
from tierproxy.model import AltObject, ByteRange, ObjectName

KNOWN = frozenset(SYSTEM.values())


def meta_of(name: ObjectName, result: Any) -> AltObject:
    """What an obstore GetResult says of the object. Raises AltCorrupt."""
    system: dict[str, str] = {}
    user: dict[str, str] = {}
    for key, value in result.attributes.items():
        if key in KNOWN:
            system[key] = str(value)
        elif key != "Storage-Class":
            user[key] = str(value)
    meta = result.meta
    return _object(
        name, meta["size"], unquoted(meta["e_tag"]), meta["last_modified"].timestamp(), from_alt(system, user)
    )


def boto_meta_of(name: ObjectName, answer: dict[str, Any]) -> AltObject:
    """What boto3's answer to GetObject or HeadObject says of it. Raises AltCorrupt, KeyError, ValueError."""
    size = int(answer["ContentRange"].rpartition("/")[2]) if "ContentRange" in answer else answer["ContentLength"]
    facts = from_alt(system_of(answer), answer.get("Metadata", {}))
    return _object(name, size, unquoted(answer.get("ETag")), answer["LastModified"].timestamp(), facts)


def _object(name: ObjectName, size: int, etag: str, modified_at: float, facts: Facts) -> AltObject:
    if not etag:  # S3 never leaves it out; a portal's page, or a proxy's, has none
        raise AltCorrupt(f"{name}: alt's answer has no ETag", hint=NO_S3)
    client_etag = facts.client_etag if facts.client_etag != etag else None
    return AltObject(name, size, etag, modified_at, facts.headers, client_etag, facts.parts)


def boto_body_of(name: ObjectName, answer: dict[str, Any]) -> tuple[AltObject, ByteRange]:
    """What boto3's answer to GetObject says of the object, and the bytes it holds. One that says too little is closed
    with its connection. Raises as ``boto_meta_of``."""
    try:
        return boto_meta_of(name, answer), _boto_range_of(answer)
    except BaseException:
        answer["Body"].close()
        raise


def _boto_range_of(answer: dict[str, Any]) -> ByteRange:
    if "ContentRange" not in answer:
        return ByteRange(0, answer["ContentLength"])
    first, _, last = answer["ContentRange"].removeprefix("bytes ").partition("/")[0].partition("-")
    return ByteRange(int(first), int(last) + 1)

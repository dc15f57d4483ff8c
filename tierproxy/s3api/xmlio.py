"""S3's XML: request documents read with bounds and without entities, answers written fast and escaped exactly.

Hostile documents (entities, DTDs, depth, size) are MalformedXML like any other that cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from urllib.parse import quote
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from tierproxy.s3api.checksums import ALGORITHMS
from tierproxy.s3api.faults import S3Error

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
MAX_DOCUMENT = 4 * 2**20
MAX_ELEMENTS = 100_000
MAX_DEPTH = 16
MAX_TAG = 64 * 1024
"""Bytes. A document has a "<" in each piece of so many, which keeps its tags, and what a parser makes of their
attributes, small. No key is as long."""
MAX_DELETES = 1000
MAX_PARTS = 10_000

_MALFORMED = "The XML you provided was not well-formed or did not validate against our published schema"
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class DeleteTarget:
    """One object of DeleteObjects. ``etag`` (unquoted, or ``*``) makes it conditional."""

    key: str
    version_id: str | None = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteDocument:
    """The body of DeleteObjects. ``quiet``: only failures are reported."""

    targets: tuple[DeleteTarget, ...]
    quiet: bool


@dataclass(frozen=True, slots=True)
class NamedPart:
    """One part in CompleteMultipartUpload. ``etag`` unquoted; ``checksums`` as in ``model.Headers``."""

    number: int
    etag: str
    checksums: dict[str, str] = field(default_factory=dict)


# ---------------------------------------------------------------- reading


def parse_delete(body: bytes) -> DeleteDocument:
    """``<Delete>``: 1 to 1000 objects. Raises S3Error MalformedXML. Keys are the caller's to check, one by one."""
    root = parse(body, "Delete")
    targets = tuple(_target(element) for element in _children(root, "Object"))
    if not 1 <= len(targets) <= MAX_DELETES:
        raise S3Error("MalformedXML", _MALFORMED)
    return DeleteDocument(targets, (_text(root, "Quiet") or "").strip().lower() == "true")


def _target(element: Element) -> DeleteTarget:
    key = _text(element, "Key")
    if not key:
        raise S3Error("MalformedXML", _MALFORMED)
    for name in ("LastModifiedTime", "Size"):
        if _text(element, name) is not None:
            raise S3Error("NotImplemented", f"DeleteObjects with a condition on {name} is not supported.")
    return DeleteTarget(key, _text(element, "VersionId") or None, _unquoted(_text(element, "ETag")) or None)


def parse_complete(body: bytes) -> tuple[NamedPart, ...]:
    """``<CompleteMultipartUpload>``: 1 to 10,000 parts. Raises S3Error MalformedXML, InvalidPartOrder."""
    parts = tuple(_part(element) for element in _children(parse(body, "CompleteMultipartUpload"), "Part"))
    if not 1 <= len(parts) <= MAX_PARTS:
        raise S3Error("MalformedXML", _MALFORMED)
    if any(later.number <= earlier.number for earlier, later in pairwise(parts)):
        raise S3Error("InvalidPartOrder", "The list of parts was not in ascending order by part number.")
    return parts


def _part(element: Element) -> NamedPart:
    number = (_text(element, "PartNumber") or "").strip()
    etag = _unquoted(_text(element, "ETag"))
    if _NUMBER.fullmatch(number) is None or not etag or not 1 <= int(number) <= MAX_PARTS:
        raise S3Error("MalformedXML", _MALFORMED)
    values = {algorithm: _text(element, f"Checksum{algorithm.upper()}") for algorithm in ALGORITHMS}
    return NamedPart(int(number), etag, {name: value.strip() for name, value in values.items() if value})


def parse_create_bucket(body: bytes) -> str | None:
    """``<CreateBucketConfiguration>``: the location constraint, None if there is none. Raises S3Error MalformedXML."""
    if not body.strip():
        return None
    return (_text(parse(body, "CreateBucketConfiguration"), "LocationConstraint") or "").strip() or None


def parse(body: bytes, root: str) -> Element:
    """The document's root element, which must be called ``root``, in any namespace. Raises S3Error MalformedXML."""
    if len(body) > MAX_DOCUMENT:
        raise S3Error("MaxMessageLengthExceeded", "Your request was too big.")
    if any(body.find(b"<", at, at + MAX_TAG) < 0 for at in range(0, len(body) - MAX_TAG, MAX_TAG)):
        raise S3Error("MalformedXML", _MALFORMED)
    # Told the encoding, expat asks none of Python's codecs, of which a document could name any.
    parser = DefusedXMLParser(target=_Bounded(), encoding="utf-8", forbid_dtd=True)
    parser.parser.XmlDeclHandler = _refuse_other_encoding
    try:
        parser.feed(body)
        element: Element = parser.close()
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        raise S3Error("MalformedXML", _MALFORMED) from None
    if _local(element.tag) != root:
        raise S3Error("MalformedXML", _MALFORMED)
    return element


def _refuse_other_encoding(_version: str, encoding: str | None, _standalone: int) -> None:
    if encoding is not None and encoding.lower() not in {"utf-8", "us-ascii"}:
        raise ValueError(encoding)


class _Bounded(TreeBuilder):
    """A tree that does not grow beyond what S3's documents need, so that 4 MiB of ``<a>`` do not cost 400. Attributes
    mean nothing in them."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0
        self._count = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self._depth += 1
        self._count += 1
        if self._depth > MAX_DEPTH or self._count > MAX_ELEMENTS:
            raise ValueError("too deep or too many elements")
        return super().start(tag, {})

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _children(element: Element, name: str) -> Iterator[Element]:
    return (child for child in element if _local(child.tag) == name)


def _text(element: Element, name: str) -> str | None:
    """The text of the one child called ``name``; "" if it is empty, None if it is not there."""
    found = list(_children(element, name))
    if len(found) > 1 or (found and len(found[0])):
        raise S3Error("MalformedXML", _MALFORMED)
    return (found[0].text or "") if found else None


def _unquoted(text: str | None) -> str:
    return (text or "").strip().strip('"')


# ---------------------------------------------------------------- writing

_SPECIAL = re.compile('[&<>"\x00-\x08\x0b\x0c\r\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]')
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"}


def escape(text: str) -> str:
    """Text for an element. What XML 1.0 cannot carry becomes a numeric reference, as S3 writes it."""
    if _SPECIAL.search(text) is None:
        return text
    return _SPECIAL.sub(lambda match: _ENTITIES.get(match[0]) or f"&#x{ord(match[0]):x};", text)


def tag(name: str, value: str | int | bool) -> str:
    """``<Name>value</Name>``, escaped; booleans as ``true`` and ``false``."""
    if isinstance(value, bool):
        value = "true" if value else "false"
    return f"<{name}>{escape(str(value))}</{name}>"


def group(name: str, *children: str) -> str:
    """An element around elements that are written already."""
    return f"<{name}>{''.join(children)}</{name}>"


def document(name: str, *children: str, namespace: str = NAMESPACE) -> bytes:
    """A whole answer. ``namespace`` "" for ``<Error>``, which has none."""
    attribute = f' xmlns="{namespace}"' if namespace else ""
    body = "".join(children)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{name}{attribute}>{body}</{name}>'.encode()


def url_encoded(key: str) -> str:
    """A key, prefix or delimiter under ``encoding-type=url``: percent-encoded UTF-8, slashes kept."""
    return quote(key, safe="/-_.~*")

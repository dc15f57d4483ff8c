"""What a mail says of itself, stored with it: where a write learns the metadata of ``tierproxy.mail.metadata``.

Between the last byte of a body and the first step that makes it durable: everything a later copy, upload, rebuild or
``HEAD`` shows is in the row, in the blob's trailer and in alt from the same moment. The body and what its client
declared of it (length, checksums, ETag) are not touched. A mail that cannot be read is stored as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from tierproxy.errors import DiskError
from tierproxy.logs import event
from tierproxy.mail.metadata import HEAD, TAIL, Whose, copied, described, said, undigested
from tierproxy.model import Headers, ObjectName, Stub
from tierproxy.ports import Clock, Source
from tierproxy.store.changes import Content
from tierproxy.store.policies import Policies
from tierproxy.traffic import Visitor

log = logging.getLogger(__name__)


class Describing:
    """For the buckets with ``mail_metadata``. ``named``: owner and folder of an object by its key."""

    def __init__(
        self, *, policies: Policies, named: Callable[[ObjectName], tuple[str, str]], clock: Clock
    ) -> None:  # fmt: skip
        self._policies = policies
        self._named = named
        self._clock = clock

    async def described(self, content: Content) -> Content:
        """``content`` with the metadata of its mail, from the two ends of its source. Parsing is done on the loop: it
        is bounded, and a thread would hold the interpreter as long. Raises nothing: without it a mail is as good."""
        if not self._wanted(content.name) or not content.source.size:
            return content
        try:
            ends = await ends_of(content.source)
            metadata = self._metadata(content, ends)
        except DiskError as error:  # whoever needs the body next says so
            event(log, logging.DEBUG, "mail not read", name=content.name, error=error)
            return content
        except Exception as error:  # noqa: BLE001 - a defect here must not cost a mail
            event(log, logging.ERROR, "mail not described", name=content.name, error=error)
            return content
        return replace(content, headers=replace(content.headers, metadata=metadata))

    def copied(
        self, source: Headers | None, given: Headers | None, target: ObjectName, visitor: Visitor
    ) -> Headers | None:
        """loop. The headers of a copy as ``target`` for which the client gave ``given``, None: the source's. Owner,
        folder and UID are the new key's. None: all are the source's, and alt need not be told of any."""
        if source is None or not self._wanted(target):
            return given
        metadata = copied(
            source.metadata, None if given is None else given.metadata, target.key, self._whose(target, visitor)
        )
        if given is None and metadata == source.metadata:
            return None
        return replace(given or source, metadata=metadata)

    def _wanted(self, name: ObjectName) -> bool:
        return self._policies.bucket(name.bucket).mail_metadata

    def _metadata(self, content: Content, ends: Stub) -> dict[str, str]:
        client = content.headers.metadata
        mail = said(content.name.key, ends)
        if mail is None:
            return undigested(client)
        return described(mail, self._whose(content.name, content.visitor), self._clock.now(), client)

    def _whose(self, name: ObjectName, visitor: Visitor) -> Whose:
        """The request's word for the owner comes first; its word for the folder is only a class by now."""
        owner, folder = self._named(name)
        return Whose(owner if visitor.owner is None else visitor.owner, folder)


async def ends_of(source: Source) -> Stub:
    """The first ``HEAD`` and the last ``TAIL`` bytes of ``source``. Raises DiskError."""
    size, content = source.size, source.content
    if content is not None:
        return ends_in(content)
    head = await source.read(0, min(HEAD, size))
    begin = max(len(head), size - TAIL)
    return Stub(size, head, await source.read(begin, size - begin) if begin < size else b"")


def ends_in(content: bytes) -> Stub:
    """The same of bytes at hand."""
    return Stub(len(content), content[:HEAD], content[max(HEAD, len(content) - TAIL) :])

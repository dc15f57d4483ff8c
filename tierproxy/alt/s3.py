"""The alt tier: S3 through obstore, with what obstore lacks through boto3 (``tierproxy.ports.AltTier``).

obstore does the daily work (get, head, put of one request, delete): 0.4 ms of CPU each, off the GIL. boto3 in threads
does copies, listings, multipart uploads and the keys obstore cannot name (``tierproxy.alt.keys``). Every operation ends
within ``retry_timeout + request_timeout + connect_timeout`` seconds (multipart: every request of it), with an error of
``tierproxy.errors`` (``tierproxy.alt.answers``). Changes are tried again here and not inside obstore, because an error
may only be called "unavailable" when no try was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import obstore

from tierproxy.alt import listing
from tierproxy.alt.answers import answer_of
from tierproxy.alt.body import AtOnce, Resumption, S3Body
from tierproxy.alt.budget import RetryBudget
from tierproxy.alt.client import boto_session, s3_client
from tierproxy.alt.denials import Denials
from tierproxy.alt.keys import is_plain, may_be_merged
from tierproxy.alt.mapping import BucketMap
from tierproxy.alt.metadata import Stored, to_alt
from tierproxy.alt.multipart import MOST_PARTS, Multipart, after, cut, gathered
from tierproxy.alt.objects import boto_body_of, boto_meta_of, meta_of
from tierproxy.alt.odd import COPY_LIMIT, COPY_PART, BotoObjects, condition, unquoted
from tierproxy.alt.stores import Stores
from tierproxy.alt.tries import Tries
from tierproxy.clock import SystemClock
from tierproxy.config.sections import AltSection
from tierproxy.errors import (
    AltCannotHold,
    AltCorrupt,
    AltDeferred,
    AltError,
    AltMissing,
    AltPrecondition,
    AltRefused,
    AltUnavailable,
    AltUncertain,
    RangeUnsatisfiable,
)
from tierproxy.model import AltObject, ByteRange, Headers, ListPage, ListRequest, ObjectName
from tierproxy.ports import AltBody, Clock, Offload, Source

if TYPE_CHECKING:
    import boto3

MD5 = re.compile(r"[0-9a-f]{32}")
PIECE = 256 * 1024  #: bytes; obstore gathers at least this much before it hands a piece over
LARGE = 2**20  #: a larger body is read into memory whole only when few others are
LARGE_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Where:
    """An object in alt. ``plain``: obstore can name it."""

    name: ObjectName
    bucket: str
    key: str
    plain: bool


class S3Alt:
    """AltTier on S3. ``offload`` runs boto3 (at least four threads). Raises ConfigError for impossible options.

    Making one reads files and may ask the instance's metadata service for credentials: not on the loop.
    """

    def __init__(
        self, section: AltSection, buckets: BucketMap, offload: Offload, *, clock: Clock | None = None,
        session: boto3.Session | None = None, budget: RetryBudget | None = None,
    ) -> None:  # fmt: skip
        session = session or boto_session(section)
        self._section = section
        self._buckets = buckets
        self._clock = clock or SystemClock()
        self._stores = Stores(section, session)
        self._client = s3_client(section, session)
        self._objects = BotoObjects(self._client, offload, section)
        self._tries = Tries(section, self._clock, budget)
        self._denials = Denials(self._clock)
        self._multipart = Multipart(self._objects, self._tries.budget, section.max_retries, self._tries.time_limit)
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._encrypts = section.server_side_encryption == "aws:kms"
        self._encrypting: set[str] = set()  #: alt's buckets found to make ETags that are no MD5

    def __repr__(self) -> str:
        return f"<S3Alt {self._section.endpoint or 'AWS ' + self._section.region} {self._buckets}>"

    # ------------------------------------------------------------ reads

    async def get(self, name: ObjectName, range: ByteRange | None = None, *, etag: str | None = None) -> AltBody:
        where = await self._where(name)
        try:
            body = await self._tries.repeat(where.name, lambda: self._get(where, range, etag))
        except AltRefused as error:
            if range is None or not _is_status(error, 416):
                raise
            if range.start < (size := (await self.head(name)).size):
                raise AltCorrupt(f"{name}: alt has {size} bytes and says that {range} is not there") from error
            raise RangeUnsatisfiable(size) from error
        wanted = range or ByteRange(0, body.meta.size)
        if body.range != ByteRange(wanted.start, min(wanted.stop, body.meta.size)):
            await body.close()
            raise AltCorrupt(f"{name}: alt answered {body.range} of {body.meta.size} bytes to {wanted}")
        if etag not in {None, body.meta.etag}:  # of a part of it nobody else would notice
            await body.close()
            raise AltPrecondition(f"{name}: alt answered {body.meta.etag} to If-Match {etag}")
        return body

    async def head(self, name: ObjectName) -> AltObject:
        """A 404 to HEAD has no body, so a missing bucket looks like a missing key: then GET is asked, which tells."""
        where = await self._where(name)
        try:
            return await self._tries.repeat(where.name, lambda: self._head(where))
        except AltUnavailable as error:
            if not _is_status(error, 404):
                raise
        body = await self._tries.repeat(where.name, lambda: self._get(where, None, None))
        await body.close()
        return body.meta

    async def page(self, request: ListRequest) -> ListPage:
        place = self._buckets.place(request.bucket)
        return await listing.page(self._objects, place, request, lambda call: self._tries.read(request.bucket, call))

    async def walk(self, bucket: str) -> AsyncIterator[list[AltObject]]:
        place = self._buckets.place(bucket)
        async for batch in listing.walk(self._objects, place, bucket, lambda call: self._tries.read(bucket, call)):
            yield batch

    # ------------------------------------------------------------ changes

    async def put(
        self, name: ObjectName, source: Source, headers: Headers, *, md5: str, etag: str | None = None,
        parts: tuple[int, ...] = (), create: bool = False, match: str | None = None,
    ) -> str:  # fmt: skip
        self._denials.forget(name)
        where = await self._where(name, change=True, filled=source.size > 0)
        in_parts = source.size > self._section.multipart_threshold
        if not etag and (in_parts or not self._makes_md5(where)):
            etag = md5  # alt's ETag will be another one, and the client's must be found again
        stored = to_alt(headers, etag, parts, name)
        if in_parts:
            pieces = cut(source, max(self._section.multipart_part_size, -(-source.size // MOST_PARTS)))
            return await self._in_parts(where, pieces, stored, create=create, match=match)
        if source.content is not None:
            return await self._put_checked(where, source.content, stored, md5, create=create, match=match)
        if source.size <= LARGE:
            content = await source.read(0, source.size)
            return await self._put_checked(where, content, stored, md5, create=create, match=match)
        async with self._large:  # obstore would hold it all in memory, whatever it is given
            content = await source.read(0, source.size)
            return await self._put_checked(where, content, stored, md5, create=create, match=match)

    async def put_stream(
        self, name: ObjectName, chunks: AsyncIterator[bytes], headers: Headers, *, create: bool = False,
        match: str | None = None,
    ) -> str:  # fmt: skip
        self._denials.forget(name)
        where = await self._where(name, change=True, filled=True)
        stored = to_alt(headers, None, (), name)
        parts = gathered(chunks, self._section.multipart_part_size)
        first = await anext(parts, b"")
        if len(first) < self._section.multipart_part_size:
            return await self._put_checked(where, first, stored, "", create=create, match=match)
        return await self._in_parts(where, after(first, parts), stored, create=create, match=match)

    async def delete(self, name: ObjectName) -> None:
        """A 404 is fine if it is said again later and a look agrees; so is a name this server would take for another
        object's: there is nothing of that name. Raises AltUncertain until that is so."""
        with contextlib.suppress(AltMissing):
            where = await self._where(name)
            try:
                with self._denials.doubted(name):
                    await self._tries.change(where.name, lambda: self._delete(where), repeatable=True)
            except AltMissing:
                found = await self.head(name)
                raise AltUncertain(f"{name}: alt has nothing to delete, and shows {found.etag}") from None
        self._denials.forget(name)

    async def copy(
        self, source: ObjectName, target: ObjectName, headers: Headers | None, *, etag: str | None = None,
        match: str | None = None, create: bool = False, target_match: str | None = None, known: AltObject | None = None,
    ) -> str:  # fmt: skip
        """Looks at the source first unless it is ``known``: its size decides how, and the target must not inherit its
        client ETag. Looks at the target too when there is a condition on it: AWS and SeaweedFS (4.48) keep to it, but
        not every server. One that ignores x-amz-copy-source-if-match is found out by the ETag of what it made."""
        self._denials.forget(target)
        origin, where = await self._where(source), await self._where(target, change=True)
        found = known or await self.head(source)
        if match is not None and found.etag != match:
            raise AltDeferred(f"{source} has ETag {found.etag}, not {match}")
        conditions = condition(create, target_match)
        if conditions:
            await self._demand(target, create, target_match)
        stored = self._copied(found, headers, etag, target)
        try:
            made = await self._copy(origin, where, found, stored, conditions)
        except AltPrecondition as error:
            if conditions and (await self.head(source)).etag == found.etag:
                raise
            raise AltDeferred(f"{source} changed while it was being copied") from error
        except AltRefused:
            if known is not None:
                await self.head(source)  # a server may have its own word for a source that is not there
            raise
        return await self._compare(origin, where, found.etag, made)

    async def etag_is_md5(self, name: ObjectName) -> bool:
        where = await self._where(name)
        if self._makes_md5(where) and await self._tries.read(
            where.name, self._objects.is_kms_encrypted(where.bucket, where.key)
        ):
            self._encrypting.add(where.bucket)
        return self._makes_md5(where)

    async def close(self) -> None:
        """Close the connections. ``offload`` is its owner's to close, after this."""
        self._client.close()

    # ------------------------------------------------------------ how

    async def _where(self, name: ObjectName, *, change: bool = False, filled: bool = False) -> Where:
        """Where ``name`` lies. AltMissing (AltCannotHold for a change) if this server would take it for another object;
        AltCannotHold too if it is to be ``filled`` with bytes and this server would throw them away."""
        place = self._buckets.place(name.bucket)
        where = Where(name, place.bucket, key := place.key(name.key), is_plain(key))
        if may_be_merged(name.key):
            apart = await self._tries.read(where.name, self._objects.keeps_keys_apart(place.bucket, place.prefix))
            if not apart and change:
                raise AltCannotHold(f"{name}: this S3 server stores such a key under another name", hint=MERGES)
            if not apart:
                raise AltMissing(f"{name}: this S3 server cannot hold such a key")
        if filled and key.endswith("/"):
            kept = await self._tries.read(where.name, self._objects.keeps_bytes_of_folders(place.bucket, place.prefix))
            if not kept:
                raise AltCannotHold(f"{name}: this S3 server keeps no bytes of a key that ends in a slash")
        return where

    async def _get(self, where: Where, range: ByteRange | None, etag: str | None) -> AltBody:
        if not where.plain:
            answer = await self._objects.get(where.bucket, where.key, range, etag)
            meta, span = boto_body_of(where.name, answer)
            return S3Body(meta, span, self._objects.pieces(answer["Body"]), piece_timeout=self._tries.time_limit)
        options: Any = {} if etag is None else {"if_match": f'"{etag}"'}
        if range is not None:
            options["range"] = (range.start, range.stop)
        result = await obstore.get_async(self._stores.reading(where.bucket), where.key, options=options)
        span = ByteRange(*result.range)
        at_once = span.length <= PIECE
        pieces = AtOnce(result) if at_once else result.stream(PIECE)
        meta = meta_of(where.name, result)
        return S3Body(
            meta, span, pieces, piece_timeout=self._tries.time_limit, at_once=at_once,
            rest=self._rest(where, meta.etag, span.stop),
        )  # fmt: skip

    def _rest(self, where: Where, etag: str, stop: int) -> Resumption:
        """What a body that breaks off goes on with."""

        async def pieces(position: int) -> AsyncIterator[Any]:
            options: Any = {"if_match": f'"{etag}"', "range": (position, stop)}
            result = await obstore.get_async(self._stores.reading(where.bucket), where.key, options=options)
            if result.range[0] != position or meta_of(where.name, result).etag != etag:
                raise ValueError(f"alt answered something else than the rest from {position} on")
            return result.stream(PIECE)

        return Resumption(self._tries, self._section.max_retries, where.name, pieces)

    async def _head(self, where: Where) -> AltObject:
        if not where.plain:
            return boto_meta_of(where.name, await self._objects.call("head_object", Bucket=where.bucket, Key=where.key))
        store = self._stores.reading(where.bucket)
        return meta_of(where.name, await obstore.get_async(store, where.key, options={"head": True}))

    async def _put_checked(
        self, where: Where, content: bytes, stored: Stored, md5: str, *, create: bool, match: str | None,
    ) -> str:  # fmt: skip
        repeatable = not create and match is None  # a second try would meet the first one's success as a 412
        etag = await self._tries.change(
            where.name, lambda: self._put(where, content, stored, create=create, match=match), repeatable=repeatable,
        )  # fmt: skip
        return await self._verify(where, etag, md5)

    async def _put(self, where: Where, content: bytes, stored: Stored, *, create: bool, match: str | None) -> str:
        if not where.plain:
            return await self._objects.put(where.bucket, where.key, content, stored, create=create, match=match)
        attributes = stored.system | stored.user
        if self._section.storage_class:
            attributes["Storage-Class"] = self._section.storage_class
        mode: Any = "create" if create else "overwrite" if match is None else {"e_tag": f'"{match}"'}
        result = await obstore.put_async(
            self._stores.changing(where.bucket), where.key, content, attributes=attributes, mode=mode,
            use_multipart=False,
        )  # fmt: skip
        return unquoted(result["e_tag"])

    def _makes_md5(self, where: Where) -> bool:
        """As far as is known, alt's ETag of a put in one request is the MD5."""
        return not self._encrypts and where.bucket not in self._encrypting

    async def _verify(self, where: Where, etag: str, md5: str) -> str:
        """Hold alt's ETag to the MD5, unless encryption makes it something else (then it is never asked again). The
        put has happened: a look at the object decides, and an alt that does not show it leaves it uncertain. Returns
        the object's ETag."""
        if not md5 or not self._makes_md5(where) or etag == md5 or not MD5.fullmatch(etag):
            return etag
        try:
            if not await self.etag_is_md5(where.name):
                return etag
            if (await self.head(where.name)).etag == md5:
                return md5
        except AltError as error:
            raise AltUncertain(f"{where.name}: stored as {etag}, but not verified: {error}") from error
        raise AltCorrupt(f"{where.name}: alt's ETag is {etag}, the MD5 of what was sent {md5}")

    async def _compare(self, origin: Where, where: Where, etag: str, made: str) -> str:
        """Hold the copy's ETag to the source's, where both are MD5s. As in ``_verify`` it has happened by now."""
        if etag == made or not (MD5.fullmatch(etag) and MD5.fullmatch(made)):
            return made
        try:
            comparable = await self.etag_is_md5(origin.name)
        except AltError as error:
            raise AltUncertain(f"{where.name}: copied as {made}, but not verified: {error}") from error
        return await self._verify(where, made, etag) if comparable else made

    async def _demand(self, name: ObjectName, create: bool, match: str | None) -> None:
        """Raises AltPrecondition unless the object is as ``create`` or ``match`` say."""
        try:
            etag: str | None = (await self.head(name)).etag
        except AltMissing:
            etag = None
        if etag is not None if create else etag != match:
            raise AltPrecondition(f"{name} exists" if create else f"{name} does not have ETag {match}")

    async def _in_parts(
        self, where: Where, parts: AsyncIterator[bytes], stored: Stored, *, create: bool, match: str | None,
    ) -> str:  # fmt: skip
        return await self._multipart.put(where.bucket, where.key, parts, stored, create=create, match=match)

    async def _delete(self, where: Where) -> None:
        if where.plain:
            await obstore.delete_async(self._stores.changing(where.bucket), where.key)
        else:
            await self._objects.call("delete_object", Bucket=where.bucket, Key=where.key)

    async def _copy(
        self, origin: Where, where: Where, found: AltObject, stored: Stored | None, conditions: dict[str, str],
    ) -> str:  # fmt: skip
        source, target = (origin.bucket, origin.key), (where.bucket, where.key)
        if not found.size and origin.key.endswith("/"):  # SeaweedFS copies no such key: it answers NoSuchKey
            kept = stored or to_alt(found.headers or Headers(), None, (), where.name)
            create, match = "IfNoneMatch" in conditions, conditions.get("IfMatch")
            return await self._put_checked(where, b"", kept, "", create=create, match=match and match.strip('"'))
        if found.size > COPY_LIMIT:
            kept = stored or to_alt(found.headers or Headers(), None, (), where.name)
            return await self._multipart.copy(source, target, found.size, COPY_PART, found.etag, kept, conditions)
        copy = self._objects.copy
        try:
            return await self._tries.change(
                where.name, lambda: copy(source, target, found.etag, stored, conditions), repeatable=not conditions
            )
        except AltRefused as error:
            if not conditions or not _is_status(error, 501):
                raise
        return await self._copy(origin, where, found, stored, {})  # a server that says it does not know them

    def _copied(self, found: AltObject, headers: Headers | None, etag: str | None, target: ObjectName) -> Stored | None:
        """The target's metadata; None when the source's can be taken as it is."""
        if headers is None and etag is None and found.client_etag is None and not found.parts:
            return None
        return to_alt(headers if headers is not None else found.headers or Headers(), etag, (), target)


MERGES = "SeaweedFS takes // and \\ in keys for /; keep such keys on another S3 server"


def _is_status(error: AltError, status: int) -> bool:
    """Alt's answer behind ``error`` had this HTTP status."""
    return error.__cause__ is not None and answer_of(error.__cause__).status == status

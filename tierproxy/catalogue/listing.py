"""Walks over many rows, in the byte order of their keys' UTF-8: listings, and pages for recovery and the operator.

Python compares strings by code point, SQLite by UTF-8 bytes; the two orders are the same.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from tierproxy.catalogue.database import ReadPool, Reads
from tierproxy.catalogue.rows import ENTRY, Row, entry_of, headers_of
from tierproxy.model import Entry, KnownKey, Listed, ListPage, ListRequest, ObjectName, State

LISTED = "key, size, etag, written_at"
PLACE = "FROM entry WHERE bucket = ? AND key >= ? AND key < ? AND state <> 'deleting' ORDER BY key"
LIVE = f"SELECT {LISTED} {PLACE}"
LIVE_WITH_HEADERS = f"SELECT {LISTED}, headers {PLACE}"
PAGE = f"{LIVE} LIMIT ?"
# Indexes are named because SQLite, without statistics, takes the primary key and reads every clean row on the way.
UNSENT = (
    f"SELECT {ENTRY} FROM entry INDEXED BY entry_unclean WHERE bucket = ? AND key >= ? AND key < ? "
    "AND state <> 'clean' AND state IN ('dirty', 'deleting') ORDER BY key LIMIT ?"
)
CLEAN = f"SELECT {ENTRY} FROM entry WHERE (bucket, key) > (?, ?) AND state = ? ORDER BY bucket, key LIMIT ?"
UNCLEAN = (
    f"SELECT {ENTRY} FROM entry INDEXED BY entry_unclean WHERE (bucket, key) > (?, ?) "
    "AND state <> 'clean' AND state = ? ORDER BY bucket, key LIMIT ?"
)
BLOBS = f"SELECT {ENTRY} FROM entry INDEXED BY entry_blob WHERE blob > ? ORDER BY blob LIMIT ?"
BLOB = "SELECT 1 FROM entry INDEXED BY entry_blob WHERE blob = ?"
KEYS = (
    "SELECT key, generation, state, size, alt_etag, blob FROM entry WHERE bucket = ? AND key > ? ORDER BY key LIMIT ?"
)

# An upper bound for every key: SQLite sorts any BLOB after any TEXT.
BEYOND = b""
LAST_CODE_POINT = 0x10FFFF
SURROGATES = range(0xD800, 0xE000)

Bound = str | bytes
Items = Generator[Listed | str, None, None]


class Listing:
    """Pages of rows, read in the pool's threads, each page on one snapshot."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def page(self, request: ListRequest) -> ListPage:
        return await self._pool.run(page, request)

    async def dirty_page(self, bucket: str, prefix: str, after: str, limit: int) -> list[Entry]:
        start, stop = max(prefix, just_after(after)), string_after_prefix(prefix) or BEYOND
        return await self._pool.run(_entries, UNSENT, bucket, start, stop, limit)

    async def entries_in(self, state: str, after: ObjectName | None, limit: int) -> list[Entry]:
        sql = CLEAN if state == State.CLEAN else UNCLEAN
        return await self._pool.run(_entries, sql, *(after or ("", "")), str(state), limit)

    async def blob_page(self, after: str, limit: int) -> list[Entry]:
        return await self._pool.run(_entries, BLOBS, after, limit)

    async def blobs_known(self, blobs: Sequence[str]) -> set[str]:
        return await self._pool.run(_blobs_known, blobs)

    async def keys_after(self, bucket: str, after: str, limit: int) -> list[KnownKey]:
        return await self._pool.run(_known_keys, bucket, after, limit)


def page(reads: Reads, request: ListRequest) -> ListPage:
    """One page of a listing, on a connection in a snapshot."""
    if request.limit <= 0:
        return ListPage((), (), None)
    items = _rolled_up(reads, request) if request.delimiter else _plain(reads, request)
    found = [item for item, _ in zip(items, range(request.limit + 1), strict=False)]
    items.close()
    more = len(found) > request.limit
    taken = found[: request.limit]
    objects = tuple(item for item in taken if isinstance(item, Listed))
    prefixes = tuple(item for item in taken if isinstance(item, str))
    return ListPage(objects, prefixes, _place(taken[-1]) if more else None)


def just_after(key: str) -> str:
    """The smallest string greater than ``key``."""
    return key + "\0"


def string_after_prefix(prefix: str) -> str | None:
    """The smallest string greater than every string that begins with ``prefix``; None if there is none.

    The last code point counted up: over the surrogates, which UTF-8 has not, and carried when it is Unicode's last.
    """
    stem = prefix.rstrip(chr(LAST_CODE_POINT))
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(SURROGATES.stop if following in SURROGATES else following)


def common_prefix(key: str, prefix: str, delimiter: str) -> str | None:
    """``key`` up to and with the first ``delimiter`` after ``prefix``, None if there is none (S3 CommonPrefixes)."""
    found = key.find(delimiter, len(prefix))
    return None if found < 0 else key[: found + len(delimiter)]


def _place(item: Listed | str) -> str:
    return item if isinstance(item, str) else item.key


def _plain(reads: Reads, request: ListRequest) -> Items:
    start = max(request.prefix, just_after(request.after)) if request.after else request.prefix
    stop = string_after_prefix(request.prefix) or BEYOND
    rows = reads.rows(f"{_live(request)} LIMIT ?", request.bucket, start, stop, request.limit + 1)
    yield from map(_listed, rows)


def _rolled_up(reads: Reads, request: ListRequest) -> Items:
    """Objects and common prefixes in order. Behind a common prefix the walk seeks over what is below."""
    bucket, prefix, delimiter = request.bucket, request.prefix, request.delimiter
    start: Bound | None = _first_place(request)
    stop = string_after_prefix(prefix) or BEYOND
    while start is not None:
        rows, start = reads.each(_live(request), bucket, start, stop), None
        try:
            for row in rows:
                group = common_prefix(row[0], prefix, delimiter)
                if group is not None:
                    yield group
                    start = string_after_prefix(group)
                    break
                yield _listed(row)
        finally:
            rows.close()


def _live(request: ListRequest) -> str:
    return LIVE_WITH_HEADERS if request.headers else LIVE


def _listed(row: Row) -> Listed:
    key, size, etag, written_at, *headers = row
    return Listed(key, size, etag, written_at, headers_of(headers[0]) if headers and headers[0] else None)


def _first_place(request: ListRequest) -> Bound:
    """Where a walk begins that continues after ``request.after``: below a common prefix nothing is left to list."""
    if not request.after:
        return request.prefix
    group = None
    if request.after.startswith(request.prefix):
        group = common_prefix(request.after, request.prefix, request.delimiter)
    if group is None:
        return max(request.prefix, just_after(request.after))
    return string_after_prefix(group) or BEYOND


def _entries(reads: Reads, sql: str, *values: str | bytes | int) -> list[Entry]:
    return [entry_of(row) for row in reads.rows(sql, *values)]


def _known_keys(reads: Reads, bucket: str, after: str, limit: int) -> list[KnownKey]:
    return [_known_key(row) for row in reads.rows(KEYS, bucket, after, limit)]


def _known_key(row: Row) -> KnownKey:
    return KnownKey(row[0], row[1], State(row[2]), *row[3:])


def _blobs_known(reads: Reads, blobs: Sequence[str]) -> set[str]:
    return {blob for blob in blobs if reads.row(BLOB, blob) is not None}

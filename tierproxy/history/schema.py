"""The columns of history: what a segment holds, and rows of ``Event`` as frames of it.

The format is open: Parquet, zstd, UTC times, plain names, and three entries of metadata. docs/history.md describes
every column for readers without tierproxy; a test holds the page, this list and the files together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from tierproxy.history.rows import GIVEN, object_id, row_of
from tierproxy.traffic import Event

VERSION = 1
"""Grows when a column changes its meaning or goes. New columns do not change it: readers ignore the unknown."""

CHUNK = 10_000
"""Rows that wait as Python objects before they become a frame."""

META_VERSION = "tierproxy.history.schema"
META_NODE = "tierproxy.history.node"
META_SOURCE = "tierproxy.history.source"

AT = pl.Datetime("us", "UTC")
WORD = pl.Categorical()


class Column(NamedTuple):
    """One column. ``help`` is what docs/history.md says."""

    name: str
    type: Any
    help: str


COLUMNS: tuple[Column, ...] = (
    Column("at", AT, "when, UTC, microseconds"),
    Column("kind", WORD, "read, write, delete or purge"),
    Column("bucket", WORD, "the bucket clients see"),
    Column("key", pl.String, "the key in it"),
    Column("object", pl.UInt64, "xxh3 (64 bits, seed 0) of the UTF-8 of bucket, a slash and key"),
    Column("owner", pl.String, "whose mail it is; empty: not known"),
    Column("folder", WORD, "folder class or folder name; empty: not known"),
    Column("size", pl.Int64, "bytes of the object; 0 where an imported log does not say"),
    Column("sent", pl.Int64, "body bytes delivered (reads)"),
    Column(
        "outcome", WORD, "of a read memory, disk, fill, join, pass or stub; of a write both, disk or alt; else empty"
    ),
    Column("reason", WORD, "of a read person, scan, prefetch, index or backup; else empty"),
    Column("client", pl.String, "access key and address of who asked"),
    Column("by", WORD, "of a purge, and of a read that regrets one: rule:NAME, pressure, operator, repair; else empty"),
    Column("first", pl.Boolean, "of a read: false for the later ranges of a read already counted; else true"),
)

NAMES = tuple(column.name for column in COLUMNS)
TYPES: dict[str, Any] = {column.name: column.type for column in COLUMNS}
_EMPTY: dict[str, Any] = {"owner": "", "folder": "", "size": 0, "sent": 0, "outcome": "", "reason": "", "client": ""}
_EMPTY |= {"by": "", "first": True}


def frame(columns: Mapping[str, Sequence[Any]]) -> pl.DataFrame:
    """A frame of the schema. ``columns``: values by name, all of one length; ``at`` as microseconds since the epoch or
    as times in UTC; ``at``, ``kind``, ``bucket`` and ``key`` must be there, the rest has empty values. Raises
    polars' errors for values that do not fit."""
    given = pl.DataFrame({name: columns[name] for name in NAMES if name in columns}, strict=True)
    missing = [pl.lit(value).alias(name) for name, value in _EMPTY.items() if name not in columns]
    whole = given.with_columns(missing)
    if "object" not in columns:
        ids = [object_id(bucket, key) for bucket, key in zip(columns["bucket"], columns["key"], strict=True)]
        whole = whole.with_columns(pl.Series("object", ids, dtype=pl.UInt64))
    return conform(whole)


def conform(whole: pl.DataFrame) -> pl.DataFrame:
    """The columns of the schema, in its order and types. Raises polars' errors where that is not possible."""
    return whole.select(pl.col(column.name).cast(column.type) for column in COLUMNS)


def empty() -> pl.DataFrame:
    """A frame of no rows."""
    return pl.DataFrame(schema=TYPES)


def frame_of_rows(rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    """Rows of ``GIVEN`` as a frame."""
    if not rows:
        return empty()
    return frame(dict(zip(GIVEN, zip(*rows, strict=True), strict=True)))


def frame_of(events: Iterable[Event]) -> pl.DataFrame:
    """Events as a frame of the schema, in the given order."""
    return frame_of_rows([row_of(event) for event in events])


def metadata(node: str, source: str) -> dict[str, str]:
    """What a segment's file says of itself."""
    return {META_VERSION: str(VERSION), META_NODE: node, META_SOURCE: source}

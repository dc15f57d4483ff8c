"""Objects in lists: what there is, what is pinned, and the buckets they are in."""

from __future__ import annotations

from collections.abc import Sequence

from tierproxy.alt.mapping import BucketMap
from tierproxy.catalogue import CatalogueReader, Wanted
from tierproxy.config.sections import Config
from tierproxy.desk.words import for_json
from tierproxy.errors import NoSuchBucket, NoSuchKey, RequestError
from tierproxy.model import BucketRow, Entry, ObjectName, State
from tierproxy.wire.base import Amount
from tierproxy.wire.objects import Found, ObjectPage, Pin
from tierproxy.wire.status import Bucket


def name_of(text: str) -> ObjectName:
    """``mail/alice/u.1``: bucket and key. Raises RequestError."""
    bucket, _, key = text.partition("/")
    if not bucket or not key:
        raise RequestError(f"{text!r} is not BUCKET/KEY, as in mail/alice/u.1")
    return ObjectName(bucket, key)


def page(catalogue: CatalogueReader, wanted: Wanted, limit: int) -> ObjectPage:
    """At most ``limit`` objects in name order. Raises DiskError."""
    found = catalogue.found(wanted, limit)
    following = str(found.next) if found.next is not None else None
    return ObjectPage(objects=[_found(entry, until) for entry, until in found.entries], next=following)


def pins(catalogue: CatalogueReader, now: float, limit: int) -> list[Pin]:
    """What commands have pinned, the first to end first. Raises DiskError."""
    return [Pin(name=str(name), until=for_json(until) or 0.0) for name, until in catalogue.pinned(now, limit)]


def entries(catalogue: CatalogueReader, names: Sequence[ObjectName]) -> dict[ObjectName, Entry]:
    """The rows of all of them. Raises NoSuchKey when one is not known: a wrong name among them changes nothing."""
    found: dict[ObjectName, Entry] = {}
    for name in names:
        entry = catalogue.find(name)
        if entry is None or entry.state is State.DELETING:
            raise NoSuchKey(f"the catalogue knows no object {name}", hint="nothing was changed")
        found[name] = entry
    return found


def buckets(config: Config, catalogue: CatalogueReader) -> list[Bucket]:
    """Those the catalogue has, by name. Raises DiskError."""
    return [_bucket(config, catalogue, row) for row in catalogue.buckets()]


def _found(entry: Entry, until: float | None) -> Found:
    return Found(
        object=str(entry.name), size=entry.size, disk_bytes=entry.blob_bytes, state=str(entry.state),
        tiers=list(entry.tiers), written_at=entry.written_at, last_read_at=entry.last_read_at, reads=entry.reads,
        owner=entry.owner, folder=entry.folder, pinned_until=for_json(until), purged_by=entry.purged_by,
    )  # fmt: skip


def _bucket(config: Config, catalogue: CatalogueReader, row: BucketRow) -> Bucket:
    totals = catalogue.totals(row.name)
    section = next((bucket for bucket in config.bucket if bucket.name == row.name), None)
    return Bucket(
        name=row.name, alt_bucket=_alt_bucket(config, row.name), complete=row.complete,
        exclusive=section is None or section.exclusive, objects=totals.objects, bytes=totals.bytes,
        disk_objects=totals.blobs, disk_bytes=totals.blob_bytes,
        dirty=Amount(objects=totals.dirty, bytes=totals.dirty_bytes),
    )  # fmt: skip


def _alt_bucket(config: Config, name: str) -> str:
    """ "" for one that the configuration has no more."""
    try:
        return BucketMap(config.bucket, config.dynamic_buckets).place(name).bucket
    except NoSuchBucket:
        return ""

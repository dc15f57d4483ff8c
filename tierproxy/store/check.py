"""The offline check (`tierproxy check`): rows against files, files against rows, the catalogue against itself, and on
request both against alt. The node must be stopped: the caller holds the data directory's lock."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from tierproxy.errors import AltMissing, BlobCorrupt, BlobMissing, DiskError
from tierproxy.model import AltObject, BlobLabel, Entry, SealedBlob, State
from tierproxy.ports import AltTier, Catalogue, Clock, DiskTier
from tierproxy.store.evidence import Fate, Seen, agrees, fate, plausible, sound
from tierproxy.store.strays import Strays, put_job
from tierproxy.store.walks import Progress, blob_rows, each, rows_in, silent

EXAMPLES = 10
PARALLEL = 4


class Kind(StrEnum):
    """What can be found, and what ``--repair`` does about it."""

    BLOB_MISSING = "blob missing"  #: a CLEAN row's file is not there: the row forgets it, alt has the bytes
    BLOB_DAMAGED = "blob damaged"  #: a CLEAN row's file is not what was written: likewise, the file goes to quarantine
    BLOB_UNREADABLE = "blob unreadable"  #: the disk refuses to read it: left alone
    UNSETTLED = "blob of an interrupted overwrite damaged"  #: SUSPECT: the node settles it at its next read
    ONLY_COPY_DAMAGED = "only copy damaged"  #: a DIRTY row's file: never repaired, an operator must act
    FILE_WITHOUT_ROW = "file without a row"  #: a leftover: removed
    DAMAGED_FILE_WITHOUT_ROW = "damaged file without a row"  #: goes to quarantine
    FILE_NEWER_THAN_CATALOGUE = "file newer than the catalogue"  #: read back if alt is asked as well (`Strays`)
    SECOND_COPY = "second file of an object only on disk"  #: left alone
    FOREIGN_CATALOGUE = "catalogue does not belong to the files"  #: left alone: `tierproxy catalogue rebuild`
    PART_MISSING = "part missing"  #: a staged part's file is not there: its upload cannot be completed
    PART_WITHOUT_ROW = "part without a row"  #: a leftover: removed
    CATALOGUE = "catalogue inconsistent"  #: the catalogue contradicts itself
    LOST_IN_ALT = "lost in alt"  #: a CLEAN row's object is not in alt: uploaded again if a good blob is there
    DIFFERS_IN_ALT = "differs in alt"  #: a CLEAN row's object has another size or ETag there: left alone
    UNKNOWN_IN_ALT = "unknown in alt"  #: alt's object has no row in a complete bucket: `tierproxy catalogue sync`


@dataclass(slots=True)
class Finding:
    """How often, how many of them were repaired, and the first few."""

    count: int = 0
    repaired: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class CheckReport:
    """What the check went through and what it found."""

    rows: int = 0  #: rows with a blob
    blob_bytes: int = 0
    files: int = 0
    parts: int = 0
    alt_objects: int = 0
    findings: dict[Kind, Finding] = field(default_factory=dict)
    examples_kept: int = EXAMPLES

    def add(self, kind: Kind, example: object, *, repaired: bool = False, count: int = 1) -> None:
        finding = self.findings.setdefault(kind, Finding())
        finding.count += count
        finding.repaired += count if repaired else 0
        if len(finding.examples) < self.examples_kept:
            finding.examples.append(str(example))

    @property
    def sound(self) -> bool:
        """Nothing was found."""
        return not self.findings

    @property
    def unrepaired(self) -> int:
        """Findings that are still so after this run."""
        return sum(finding.count - finding.repaired for finding in self.findings.values())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        facts = asdict(self)
        del facts["examples_kept"]
        facts["findings"] = {kind.value: asdict(finding) for kind, finding in self.findings.items()}
        return {**facts, "sound": self.sound, "unrepaired": self.unrepaired}


class Check:
    """One check. ``alt`` and ``buckets``: compare these (exclusive) buckets with alt as well.

    ``repair`` never touches the only copy of anything: what it removes is of no use by ``evidence.fate``, what it drops
    is in alt, what it queues for upload is verified first.
    """

    def __init__(
        self, *, catalogue: Catalogue, disk: DiskTier, clock: Clock, alt: AltTier | None = None,
        buckets: Collection[str] = (), repair: bool = False, progress: Progress = silent, parallel: int = PARALLEL,
        examples: int = EXAMPLES,
    ) -> None:  # fmt: skip
        self._catalogue = catalogue
        self._disk = disk
        self._clock = clock
        self._alt = alt
        self._buckets = buckets
        self._repair = repair
        self._progress = progress
        self._parallel = parallel
        self._strays = Strays(catalogue, disk, clock)
        self.report = CheckReport(examples_kept=examples)

    async def run(self) -> CheckReport:
        """Raises DiskError when the directory or the catalogue cannot be read at all, AltError when alt cannot."""
        for complaint in await self._catalogue.check():
            self.report.add(Kind.CATALOGUE, complaint)
        await self._check_rows()
        await self._check_parts()
        await self._check_files()
        if self._alt is not None:
            for bucket in self._buckets:
                await self._check_alt(self._alt, bucket)
        return self.report

    # ------------------------------------------------------------ rows -> files

    async def _check_rows(self) -> None:
        total = self._catalogue.totals().blobs
        async for page in blob_rows(self._catalogue):
            await each(page, self._check_row, self._parallel)
            self.report.rows += len(page)
            self.report.blob_bytes += sum(entry.blob_bytes for entry in page)
            self._progress("blobs", self.report.rows, total)

    async def _check_row(self, entry: Entry) -> None:
        try:
            await sound(self._disk, entry)
        except (BlobMissing, BlobCorrupt) as error:
            await self._bad_blob(entry, error)
        except DiskError as error:
            self.report.add(Kind.BLOB_UNREADABLE, f"{entry.name}: {error}")

    async def _bad_blob(self, entry: Entry, error: DiskError) -> None:
        example = f"{entry.name}: {error}"
        if entry.state is State.DIRTY:
            self.report.add(Kind.ONLY_COPY_DAMAGED, example)
        elif entry.state is not State.CLEAN:
            self.report.add(Kind.UNSETTLED, example)
        else:
            kind = Kind.BLOB_MISSING if isinstance(error, BlobMissing) else Kind.BLOB_DAMAGED
            if self._repair:
                await self._drop(entry, damaged=kind is Kind.BLOB_DAMAGED)
            self.report.add(kind, example, repaired=self._repair)

    async def _drop(self, entry: Entry, *, damaged: bool) -> None:
        """The row first: a crash in between leaves a file without a row, never a row without a file."""
        blob = entry.blob or ""
        await self._catalogue.drop_blob(entry.name, entry.generation, blob, by="repair", at=self._clock.now())
        if damaged:
            await self._disk.quarantine(blob)

    # ------------------------------------------------------------ files -> rows

    async def _check_parts(self) -> None:
        wanted, there = self._catalogue.part_files(), set(await self._disk.scan_parts())
        self.report.parts = len(there)
        for file in sorted(wanted - there):
            self.report.add(Kind.PART_MISSING, file)
        orphans = sorted(there - wanted)
        if self._repair:
            await self._disk.remove_parts(orphans)
        for file in orphans:
            self.report.add(Kind.PART_WITHOUT_ROW, file, repaired=self._repair)

    async def _check_files(self) -> None:
        known = unknown = 0
        orphans: list[str] = []
        async for names in self._disk.scan():
            found = await self._catalogue.blobs_known(names)
            known, unknown = known + len(found), unknown + len(names) - len(found)
            if plausible(max(known, self.report.rows), unknown):
                orphans += [name for name in names if name not in found]
            self._progress("files", known + unknown, None)
        self.report.files = known + unknown
        if not plausible(known, unknown):
            self.report.add(Kind.FOREIGN_CATALOGUE, f"{unknown} files without a row, {known} with one", count=unknown)
            return
        # Offline nothing is in flight: a generation not given out yet can only come from a newer catalogue.
        ceiling = self._catalogue.next_generation()
        for blob in orphans:
            await self._check_orphan(blob, ceiling)

    async def _check_orphan(self, blob: str, ceiling: int) -> None:
        label: BlobLabel | None = None
        sealed: SealedBlob | None = None
        try:
            label, sealed = await self._disk.verify(blob)
        except BlobCorrupt:
            pass
        except DiskError as error:
            self.report.add(Kind.BLOB_UNREADABLE, f"{blob}: {error}")
            return
        verdict = fate(label, self._catalogue.find(label.name) if label else None, self._catalogue, ceiling)
        example = f"{blob}: {label.name} generation {label.generation}" if label else blob
        if label is not None and sealed is not None and verdict is Fate.KEEP:
            if label.generation < ceiling and not self._catalogue.unaccounted(label.generation):
                self.report.add(Kind.SECOND_COPY, example)
            else:
                repaired = await self._read_back(label, sealed)
                self.report.add(Kind.FILE_NEWER_THAN_CATALOGUE, example, repaired=repaired)
        elif verdict is Fate.REMOVE:
            if self._repair:
                await self._disk.remove([blob])
            self.report.add(Kind.FILE_WITHOUT_ROW, example, repaired=self._repair)
        else:
            if self._repair:
                await self._disk.quarantine(blob)
            self.report.add(Kind.DAMAGED_FILE_WITHOUT_ROW, example, repaired=self._repair)

    async def _read_back(self, label: BlobLabel, sealed: SealedBlob) -> bool:
        """Only with alt's word: without it the file could bring an old content, or a deleted object, back."""
        if not self._repair or self._alt is None or self._catalogue.bucket(label.name.bucket) is None:
            return False
        await self._strays.settle(self._alt, label, sealed)
        return True

    # ------------------------------------------------------------ against alt

    async def _check_alt(self, alt: AltTier, bucket: str) -> None:
        seen = Seen()
        row = self._catalogue.bucket(bucket)
        complete = row is not None and row.complete
        async for batch in alt.walk(bucket):
            for found in batch:
                seen.add(found.name)
                self._compare(found, complete=complete)
            self.report.alt_objects += len(batch)
            self._progress(f"alt {bucket}", self.report.alt_objects, None)
        async for page in rows_in(self._catalogue, State.CLEAN, bucket):
            for entry in page:
                if entry.name not in seen:
                    await self._check_lost(alt, entry)

    def _compare(self, found: AltObject, *, complete: bool) -> None:
        entry = self._catalogue.find(found.name)
        if entry is None:
            if complete:
                self.report.add(Kind.UNKNOWN_IN_ALT, found.name)
        elif entry.state is State.CLEAN and not agrees(found, entry):
            self.report.add(Kind.DIFFERS_IN_ALT, f"{found.name}: {found.size} bytes {found.etag}")

    async def _check_lost(self, alt: AltTier, entry: Entry) -> None:
        """Not in the listing. A HEAD has the last word before anything is uploaded over it."""
        try:
            await alt.head(entry.name)
        except AltMissing:
            repaired = self._repair and await self._upload_again(entry)
            self.report.add(Kind.LOST_IN_ALT, entry.name, repaired=repaired)

    async def _upload_again(self, entry: Entry) -> bool:
        """CLEAN -> DIRTY with a job, if the blob is there and good."""
        if entry.blob is None:
            return False
        try:
            await sound(self._disk, entry)
        except DiskError:
            return False
        await self._catalogue.publish(replace(entry, state=State.DIRTY), job=put_job(entry, self._clock.now()))
        return True

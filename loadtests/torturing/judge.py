"""After a round: is everything that was promised true, in the node, in S3 and on the disk?"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

from ledger import ERROR, GONE, digest, outcome_of

from tierproxy.alt.client import s3_client
from tierproxy.cli.offline import offline
from tierproxy.cli.purging import carried_out
from tierproxy.clock import SystemClock
from tierproxy.disk.layout import DataDirectory
from tierproxy.embedded import PROBE_BUCKET
from tierproxy.errors import NoSuchUpload, RequestError, TierproxyError
from tierproxy.near.versions import SHARED_MEMORY, UNANSWERED, table_path
from tierproxy.store.check import Check, Kind
from tierproxy.testing.invariants import check_invariants
from tierproxy.wire.purges import RunWish
from torturing.player import judged, named
from torturing.rest import Idle, left, look
from torturing.tally import Tally, Wrong
from torturing.wide_client import WideClient
from torturing.world import ALT_BUCKETS, World

DRAINING = 90.0  #: seconds the queue has to run empty, once everything is healed
SETTLING = 30.0  #: seconds in which "try again" is an answer, once everything is healed
SLACK = 1.0  #: seconds between what the node and its judge take for the same moment
AT_ONCE = 4
LOOKS = 5
DRAFTS = {".part", ".draft", ".partial"}  #: what files are called before they are whole
LEFTOVERS = {Kind.FILE_WITHOUT_ROW.value, Kind.DAMAGED_FILE_WITHOUT_ROW.value, Kind.PART_WITHOUT_ROW.value}
OUTLIVES = "its table in shared memory outlives the node"
DAMAGES = {Kind.BLOB_MISSING.value, Kind.BLOB_DAMAGED.value}
MEANINGS = {
    Kind.LOST_IN_ALT.value: Wrong.LOST, Kind.DIFFERS_IN_ALT.value: Wrong.LOST, Kind.ONLY_COPY_DAMAGED.value: Wrong.LOST,
    Kind.UNKNOWN_IN_ALT.value: Wrong.RESURRECTED,
}  # fmt: skip


class Judge:
    """Of one round. The world is healed, the node runs, nobody else asks anything."""

    def __init__(self, world: World, tally: Tally) -> None:
        self._world = world
        self._tally = tally
        self._ledger = world.ledger
        self._s3 = s3_client(world.alt.section())  # for several threads
        self._drained = time.monotonic()  #: since then all that was sent to S3 has been answered

    def close(self) -> None:
        self._s3.close()

    def drained(self) -> bool:
        """The queue runs empty."""
        begin = time.monotonic()
        while (left := self._world.node.pending()) != 0:
            if time.monotonic() - begin > DRAINING:
                self._tally.fail(Wrong.BROKEN, f"after {DRAINING:g} s there are still {left} uploads pending")
                return False
            time.sleep(0.05)
        self._drained = time.monotonic()
        self._tally.drained += self._drained - begin
        return True

    def contents(self, *, cut_off: bool = False) -> dict[str, str]:
        """Every key as the node has it and as S3 has it: right, and the same. Returns the node's digests.

        ``cut_off``: writes may have ended between alt's answer and the catalogue's commit, by a kill. Nobody
        acknowledged them; of a new key S3 has the object then, and no row says so. docs/semantics.md names it; what an
        operator does, this does: it is removed in S3. Want of room is no excuse: the catalogue has a reserve.
        """
        here = self._through_node("through the node")
        self.drained()  # what a read has settled
        there = self._compare("in S3", self._by_many(self._read_alt))
        for key, found in here.items():
            if there[key] != found and cut_off and found == GONE and len(self._ledger.allowed[key]) > 1:
                self._tally.seen["unanswered writes that only S3 has"] += 1
                bucket, name = self._world.in_alt(named(key))
                self._s3.delete_object(Bucket=bucket, Key=name)
            elif there[key] != found:
                self._tally.fail(Wrong.LOST, f"the node has {found[:12] or 'nothing'}, S3 {there[key][:12]}", key)
        self._listings({key for key, found in here.items() if found != GONE})
        return here

    def on_disk(self) -> None:
        """Every body on the disk, read as a file, is what was promised; those excepted that were damaged on purpose."""
        directory, compared = DataDirectory(self._world.node.data), 0
        for key, allowed in list(self._ledger.allowed.items()):
            for _ in range(LOOKS):  # a purge, or a repair, may be quicker than this
                with self._world.node.catalogue() as catalogue:
                    entry = catalogue.find(named(key))
                if entry is None or entry.blob is None or entry.blob in self._world.damaged:
                    break
                with suppress(FileNotFoundError):
                    compared += 1
                    found = digest(directory.blob(entry.blob).read_bytes()[: entry.size])
                    if found not in allowed:
                        self._tally.fail(*judged(found, allowed, known=self._known(key, found)), key)
                    break
            else:
                self._tally.fail(Wrong.LOST, "its row names a file that is not there", key)
        self._tally.seen["compared on the disk"] = compared

    def after_purge(self) -> None:
        """Everything off the disk, through the running node: what is read now is S3's."""
        for bucket in self._world.buckets:
            order = RunWish(target=bucket, everything=True, confirmed=True, author="torture")
            run = asyncio.run(carried_out(self._world.node.config, order, SystemClock(), quiet=True))
            if run.state != "done":
                self._tally.fail(Wrong.BROKEN, f"the purge of {bucket} is {run.state}: {run}")
        self._through_node("after a purge")

    def settle(self, found: dict[str, str]) -> None:
        """What came of the operations nobody answered is the truth from now on."""
        for key, allowed in list(self._ledger.allowed.items()):
            if len(allowed) > 1:
                self._tally.seen["unanswered, settled"] += 1
                self._ledger.settle(key, found[key])

    # ---------------------------------------------------------------- contents

    def _through_node(self, where: str) -> dict[str, str]:
        found = self._by_many(self._read_node)
        deadline = time.monotonic() + SETTLING
        while again := [key for key, one in found.items() if one.startswith(ERROR)]:
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
            found |= self._by_many(self._read_node, again)
        return self._compare(where, found)

    def _compare(self, where: str, found: dict[str, str]) -> dict[str, str]:
        for key, one in found.items():
            allowed = self._ledger.allowed[key]
            if one.startswith(ERROR):
                self._tally.fail(Wrong.LOST, f"{where}: {one}", key)
            elif one not in allowed:
                wrong, text = judged(one, allowed, known=self._known(key, one))
                self._tally.fail(wrong, f"{where}: {text}", key)
        self._tally.seen[f"compared {where}"] = len(found)
        return found

    def _known(self, key: str, digest: str) -> bool:
        return any(note.get("sha256") == digest for note in self._ledger.history(key))

    def _read_node(self, keys: list[str]) -> dict[str, str]:
        with closing(WideClient(self._world.node.door)) as client:
            return {key: outcome_of(lambda key=key: client.read(named(key))[1]) for key in keys}  # type: ignore[misc]

    def _read_alt(self, keys: list[str]) -> dict[str, str]:
        return {key: _alt_digest(self._s3, *self._world.in_alt(named(key))) for key in keys}

    def _by_many(
        self, read: Callable[[list[str]], dict[str, str]], keys: Iterable[str] | None = None
    ) -> dict[str, str]:
        wanted = list(self._ledger.allowed if keys is None else keys)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            found = threads.map(read, (wanted[start::AT_ONCE] for start in range(AT_ONCE)))
            return {key: digest for part in found for key, digest in part.items()}

    def _listings(self, there: set[str]) -> None:
        """Listings of the node and of S3 name what is there and nothing else."""
        with closing(WideClient(self._world.node.door)) as client:
            listed = {f"{bucket}/{one.key}" for bucket in self._world.buckets for one in client.objects(bucket)}
        for key in listed - there:
            self._tally.fail(Wrong.RESURRECTED, "is listed by the node and not there", key)
        for key in there - listed:
            self._tally.fail(Wrong.LOST, "is there and not listed by the node", key)
        expected = {self._world.in_alt(named(key)) for key in there}
        stored = {(bucket, key) for bucket in ALT_BUCKETS for key in _alt_keys(self._s3, bucket)}
        for bucket, key in stored - expected:
            self._tally.fail(Wrong.RESURRECTED, f"S3 has {bucket}/{key}, which the node does not have")

    # ---------------------------------------------------------------- what stays behind

    def uploads(self) -> None:
        """Whatever uploads were begun and not completed are aborted."""
        with closing(WideClient(self._world.node.door)) as client:
            for bucket in self._world.buckets:
                for name, upload in client.uploads(bucket):
                    self._tally.seen["unfinished uploads aborted"] += 1
                    try:
                        client.abort(name, upload)
                    except (NoSuchUpload, RequestError) as error:
                        self._tally.fail(Wrong.LEAKED, f"upload {upload} of {name} cannot be aborted: {error}")

    def at_rest(self, before: Idle | None = None) -> None:
        """The running node holds nothing for anybody, and its space accounting is exact. ``before``: what such a node
        had when nobody had asked it anything; no task, thread or descriptor is left over."""
        deadline = time.monotonic() + SETTLING
        while (wrong := self._restless() + self._left(before)) and time.monotonic() < deadline:
            time.sleep(0.5)
        for text in wrong:
            self._tally.fail(Wrong.LEAKED, text)

    def _restless(self) -> list[str]:
        node = self._world.node
        try:
            metrics = node.metrics()
            with node.catalogue() as catalogue:
                used = catalogue.totals().blob_bytes
        except (OSError, TierproxyError) as error:
            return [f"the node cannot be asked: {error}"]
        wrong = []
        if metrics["tierproxy_disk_used_bytes"] != used:
            wrong.append(f"{metrics['tierproxy_disk_used_bytes']:.0f} bytes in use, blobs add up to {used}")
        if metrics["tierproxy_disk_reserved_bytes"]:
            wrong.append(f"{metrics['tierproxy_disk_reserved_bytes']:.0f} bytes still reserved")
        if connections := node.served_connections():
            wrong.append(f"{connections} connections of clients that have left")
        if staged := [path.name for path in (node.data / "staging").iterdir()]:
            wrong.append(f"{len(staged)} files still staged")
        if open_staged := node.open_files()["staging"]:
            wrong.append(f"{open_staged} descriptors of staged files")
        return wrong

    def _left(self, before: Idle | None) -> list[str]:
        if before is None:
            return []
        config = self._world.node.config
        try:
            now = look(self._world.node)
        except (OSError, TimeoutError) as error:
            return [f"the node cannot be looked at: {error}"]
        return left(now, before, disk_threads=config.disk.threads, sockets=config.alt.concurrency)

    def stopped(self, *, killed: bool, disk: bool, damaged: bool) -> None:
        """The node ends when it is told to, and leaves nothing behind; files, rows and S3 agree. ``killed``, ``disk``,
        ``damaged``: what there was in this round explains leftovers, and damage that nobody has read yet."""
        node = self._world.node
        workers = node.workers()
        lasted = time.monotonic() - self._drained
        if node.ended_in_order():
            self._tally.seen["ends in order"] += 1
        else:
            self._tally.fail(
                Wrong.BROKEN, f"told to stop, the node ended with {node.status}, tasks: {node.cancelled()}"
            )
        for path in node.data.rglob("*"):
            if path.suffix in DRAFTS or path.name.startswith("."):
                self._tally.fail(Wrong.LEAKED, f"{path.relative_to(node.data)} is left, half written")
        self._table(lasted)
        for worker in workers:
            if worker.is_running():
                self._tally.fail(Wrong.LEAKED, f"hit worker {worker.pid} outlives its node")
        for line in node.complaints():
            self._tally.fail(Wrong.BROKEN, f"in the log: {line[:300]}")
        node.log.rename(node.log.with_suffix(f".{self._tally.number}.log"))
        self._check(allowed=(LEFTOVERS if killed or disk else set()) | (DAMAGES if damaged else set()))
        try:
            asyncio.run(self._invariants())
        except AssertionError as error:
            self._tally.fail(Wrong.LEAKED, str(error))

    def _table(self, lasted: float) -> None:
        """A table in shared memory outlives its node only if it tells the next one of changes that S3 may still do: a
        node that goes on for longer than that after the last one takes it away. ``lasted``: seconds."""
        path = table_path(self._world.node.data, SHARED_MEMORY)
        if not path.exists():
            return
        if lasted > self._world.node.config.alt.request_timeout + SLACK:
            self._tally.fail(Wrong.LEAKED, f"{OUTLIVES}, {lasted:.0f} s after the last change")
        elif not any(path.read_bytes()[-UNANSWERED:]):
            self._tally.fail(Wrong.LEAKED, f"{OUTLIVES}, and tells the next one nothing")
        else:
            self._tally.seen["tables left to the next node"] += 1

    def _check(self, allowed: set[str]) -> None:
        """``tierproxy check --alt``, and once more after its repair."""
        done = self._world.node.command("check", "--alt", "--repair", "--json")
        if not done.text:
            self._tally.fail(Wrong.BROKEN, f"check ended with {done.code}: {done.errors}")
            return
        for kind, finding in json.loads(done.text)["findings"].items():
            self._tally.seen[f"check: {kind}"] += finding["count"]
            if kind not in allowed:
                wrong = MEANINGS.get(kind, Wrong.LEAKED)
                self._tally.fail(wrong, f"check: {kind}: {finding['count']}, {finding['examples'][:3]}")

    async def _invariants(self) -> None:
        """After the repair nothing differs any more. AssertionError."""
        node = self._world.node
        async with offline(node.config, with_alt=False) as room:
            catalogue = room.catalogue()
            report = await Check(catalogue=catalogue, disk=room.disk, clock=room.clock).run()
            assert report.sound, f"check after its repair: {report.as_dict()}"
            await check_invariants(catalogue, room.disk, root=node.data)


def _alt_digest(client: Any, bucket: str, key: str) -> str:
    try:
        return digest(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    except client.exceptions.NoSuchKey:
        return GONE


def _alt_keys(client: Any, bucket: str) -> list[str]:
    assert bucket != PROBE_BUCKET
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [one["Key"] for page in pages for one in page.get("Contents", [])]

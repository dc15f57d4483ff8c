#!/usr/bin/env python3
"""An S3 server that lies at random, under a mixed load. Nothing acknowledged may be lost, nothing may come back.

A real SeaweedFS, before it a front that lies (``tierproxy.testing.lying_s3``), before that a real ``tierproxy serve``
with a disk so small that a good part of what is read is not there any more. Clients deliver, overwrite, copy, delete
and read; a ledger outside the node notes each change before it is sent and again when it is acknowledged. Every other
second the front is told other lies: each may meet any request, with some chance, or for a while all of a kind. In each
round:

  1. everything runs, and every answer to a read is held against the ledger;
  2. the lies end: the queue must run empty;
  3. every key is compared in SeaweedFS itself, through the proxy, and through the proxy once more after a purge of the
     whole disk; ``tierproxy check --alt`` finds nothing lost and nothing different.

A change that was refused, or never answered, may have happened or not. An answer "try again" to a read is none. Exit 0
only when nothing acknowledged was lost, nothing deleted or overwritten came back, and no wrong byte was served.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import report
from ledger import GONE, Ledger
from outage import LARGEST, MODELS, Outage, Tally
from served import BUCKET, Failed, Served, config_for, seaweed, served, workplace

from tierproxy.cli.client import ObjectClient
from tierproxy.config.sections import Config, DiskSection, MemorySection, QueueSection, WriteSection
from tierproxy.config.values import Duration, Share, Size
from tierproxy.embedded import EmbeddedS3
from tierproxy.errors import NoSuchKey, TierproxyError
from tierproxy.model import ObjectName
from tierproxy.store.check import Kind
from tierproxy.testing.lies import BENDS, DELIVERIES, DOUBTFUL, FAKES, Rule
from tierproxy.testing.lying_s3 import LyingS3
from tierproxy.testing.mails import mail

KINDS = ("GET", "HEAD", "PUT", "COPY", "DELETE", "CREATE", "PART", "COMPLETE")
LATE = 2.5  #: seconds: after the proxy has given the request up
LARGE = 6 * 2**20  #: bytes: goes to alt in parts
WRONG = ("lost", "resurrected", "wrong bytes")
STORMS = ("slow down", "internal error", "bare 503", "expired token", "access denied", "reset", "not found", "late")
OF_ETAGS = {"wrong etag", "other document in a 200"}
"""Not told to the HEAD that is to find out what became of a change: then both say that alt holds other bytes, and the
node says so as well (503 and an alarm) until it is written again."""
OF_LISTINGS = {"first page again", "looping list", "list without token", "list without a key"}
SPECIAL: dict[str, dict[str, object]] = {
    "late": {"seconds": LATE},
    "trickle": {"seconds": 0.1},
    "moved": {"url": "http://127.0.0.1:9"},
    "temporarily moved": {"url": "http://127.0.0.1:9"},
    "headers": {"headers": (("content-encoding", "gzip"), ("x-amz-meta-tierproxy-etag", "0" * 32))},
}


class Weather:
    """What the front is told to say, from moment to moment."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(f"{seed}/weather")
        self._names = sorted({*FAKES, *BENDS, *DELIVERIES} - OF_LISTINGS)

    def next(self) -> list[Rule]:
        """Some lies, sometimes a storm of one, sometimes none."""
        dice = self._chance.random()
        if dice < 0.15:
            return []
        if dice < 0.3:
            return [self._rule(self._chance.choice(STORMS), 1.0)]
        return [self._rule(name, self._chance.uniform(0.05, 0.5)) for name in self._chance.sample(self._names, 5)]

    def _rule(self, lie: str, chance: float) -> Rule:
        meant = [kind for kind in KINDS if kind != "HEAD" or lie not in OF_ETAGS]
        kinds = tuple(meant) if self._chance.random() < 0.5 else tuple(self._chance.sample(meant, 2))
        # A server that says "refused", and does it, is told apart from another writer only as long as the node runs,
        # and here it is started anew in every round (tests/lies has these).
        applied = lie in DOUBTFUL and self._chance.random() < 0.5
        return Rule(lie, kinds, chance=chance, applied=applied, **SPECIAL.get(lie, {}))  # type: ignore[arg-type]


class History:
    """Every digest a key was ever meant to have: what came back is told from what was never there."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._ever: dict[str, set[str]] = {}

    def intend(self, key: str, digest: str) -> None:
        self._ever.setdefault(key, {GONE}).add(digest)
        self._ledger.intend(key, digest)

    def verdict(self, key: str, digest: str) -> str:
        """ "" if that may be; else one of ``WRONG``."""
        if digest in self._ledger.allowed[key]:
            return ""
        if digest == GONE:
            return "lost"
        return "resurrected" if digest in self._ever[key] else "wrong bytes"


class Client:
    """One connection: its keys are its own, so it knows the order of their changes."""

    def __init__(self, number: int, seed: int, ledger: Ledger, history: History, models: list[bytes]) -> None:
        self._number = number
        self._chance = random.Random(f"{seed}/client/{number}")
        self._ledger = ledger
        self._history = history
        self._models = models
        self._serial = 0
        self._keys: list[str] = []

    def work(self, proxy: Served, tally: Tally, stop: threading.Event) -> None:
        with closing(ObjectClient(proxy.door)) as client:
            while not stop.is_set():
                kind, step = self._next()
                tally.counts["operations"] += 1
                try:
                    step(client, tally)
                    tally.counts[f"{kind} answered"] += 1
                except TierproxyError:
                    tally.counts[f"{kind} put off"] += 1

    def _next(self) -> tuple[str, Callable[[ObjectClient, Tally], None]]:
        """What to do, and its name."""
        known, dice = self._ledger.certain(self._keys), self._chance.random()
        if not known or dice < 0.2:
            return "delivery", lambda client, tally: self._put(client, tally, self._fresh())
        one = self._chance.choice(known)
        if dice < 0.3:
            return "overwrite", lambda client, tally: self._put(client, tally, one)
        if dice < 0.36:
            return "copy", lambda client, tally: self._copy(client, tally, one)
        if dice < 0.44:
            return "delete", lambda client, tally: self._delete(client, tally, one)
        return "read", lambda client, tally: self._read(client, tally, self._chance.choice(self._keys))

    def _fresh(self) -> str:
        self._keys.append(f"user{self._number}/mailboxes/INBOX/dbox-Mails/u.{len(self._keys) + 1}")
        return self._keys[-1]

    def _put(self, client: ObjectClient, tally: Tally, key: str) -> None:
        self._serial += 1
        content = b"X-Load: %d/%d\r\n" % (self._number, self._serial) + self._chance.choice(self._models)
        if self._chance.random() < 0.01:
            content = content.ljust(LARGE, b".")
        ack = self._chance.choices(("both", "disk", "alt"), (6, 3, 1))[0]
        digest = hashlib.sha256(content).hexdigest()
        self._history.intend(key, digest)
        client.put(ObjectName(BUCKET, key), content, len(content), {"x-tierproxy-ack": ack})
        self._ledger.acknowledge(key, digest, "written")

    def _copy(self, client: ObjectClient, tally: Tally, source: str) -> None:
        """Of a key whose content is certain."""
        digests = self._ledger.allowed[source]
        if len(digests) != 1:
            return
        (digest,) = digests
        target = self._fresh()
        self._history.intend(target, digest)
        client.put(ObjectName(BUCKET, target), b"", 0, {"x-amz-copy-source": f"/{BUCKET}/{source}"})
        self._ledger.acknowledge(target, digest, "copied")

    def _delete(self, client: ObjectClient, tally: Tally, key: str) -> None:
        self._history.intend(key, GONE)
        client.delete(ObjectName(BUCKET, key))
        self._ledger.acknowledge(key, GONE, "deleted")

    def _read(self, client: ObjectClient, tally: Tally, key: str) -> None:
        try:
            digest = hashlib.sha256(client.read(ObjectName(BUCKET, key))[1]).hexdigest()
        except NoSuchKey:
            digest = GONE
        if wrong := self._history.verdict(key, digest):
            tally.counts[wrong] += 1
            tally.fail(f"{key}: {wrong} at a read under load")


class Lies(Outage):
    """One world through all its rounds. What is compared afterwards, and how, is as after an outage."""

    def __init__(
        self, options: argparse.Namespace, alt: EmbeddedS3, proxy: Served, ledger: Ledger, front: LyingS3
    ) -> None:
        super().__init__(argparse.Namespace(clients=0, seed=options.seed), alt, proxy, ledger)
        contents = [mail(number, options.seed).content for number in range(MODELS)]
        models = [content for content in contents if len(content) <= LARGEST]
        self._front = front
        self._seconds = options.seconds / options.rounds
        self._history = History(ledger)
        self._weather = Weather(options.seed)
        self._wind = random.Random(f"{options.seed}/wind")
        self._clients = [Client(n, options.seed, ledger, self._history, models) for n in range(options.clients)]

    def round(self) -> Tally:
        """All three steps. Ends with an empty queue."""
        tally = Tally()
        self._work_and_lie(tally)
        tally.pending = self._pending()
        self._drain(tally)
        stored = self._in_alt()
        self._compare("in SeaweedFS", tally, stored, listed=self._listed_in_alt())
        self._compare("through the proxy", tally, self._through_proxy())
        self._purge(tally)
        self._compare("after a purge", tally, self._through_proxy())
        self._sweep(tally, stored)
        self._settle(tally)
        return tally

    def _sweep(self, tally: Tally, stored: dict[str, str]) -> None:
        """What SeaweedFS took and nobody acknowledged is unknown to the node: clients that delete it are rid of it."""
        with closing(ObjectClient(self._proxy.door)) as client:
            for key, digest in self._last.items():
                if digest == GONE != stored[key]:
                    self._delete_of(client, key)
                    tally.counts["never acknowledged, swept"] += 1

    def _delete_of(self, client: ObjectClient, key: str) -> None:
        self._history.intend(key, GONE)
        client.delete(ObjectName(BUCKET, key))
        self._ledger.acknowledge(key, GONE, "swept")

    def _work_and_lie(self, tally: Tally) -> None:
        stop, end = threading.Event(), time.monotonic() + self._seconds
        with ThreadPoolExecutor(len(self._clients)) as threads:
            try:
                running = [threads.submit(client.work, self._proxy, tally, stop) for client in self._clients]
                while (left := end - time.monotonic()) > 0:
                    self._front.tell(*self._weather.next())
                    stop.wait(min(left, self._wind.uniform(1, 3)))
            finally:
                stop.set()
                self._front.tell()
            for one in running:
                one.result()

    def _compare(self, where: str, tally: Tally, found: dict[str, str], *, listed: set[str] | None = None) -> None:
        before = len(tally.wrong)
        for key, digest in found.items():
            if wrong := "lost" if digest.startswith("an error") else self._history.verdict(key, digest):
                tally.counts[wrong] += 1
        super()._compare(where, tally, found, listed=listed)
        if len(tally.wrong) > before:
            print(f"{where}: {tally.wrong[before:][:5]}", file=sys.stderr)

    def _check(self, tally: Tally) -> None:
        """The proxy is stopped: files, rows and alt say the same. What alt has beyond them was never acknowledged."""
        super()._check(tally)
        found = json.loads(self._proxy.command("check", "--alt", "--json").text)["findings"]
        for kind in (Kind.LOST_IN_ALT, Kind.DIFFERS_IN_ALT):
            if kind in found:
                tally.counts["lost"] += found[kind]["count"]
                tally.fail(f"tierproxy check --alt: {kind}: {found[kind]}")


def run(options: argparse.Namespace) -> tuple[list[Tally], Counter[str], Ledger]:
    with (
        workplace(options.dir, 4 * 2**30) as directory,
        seaweed(directory) as alt,
        LyingS3("127.0.0.1", alt.ports["s3"], options.seed) as front,
        closing(Ledger(directory / "ledger.jsonl")) as ledger,
        served(directory, config_of(directory, alt, front)) as proxy,
    ):
        world, tallies = Lies(options, alt, proxy, ledger, front), list[Tally]()
        for number in range(options.rounds):
            tallies.append(world.round())
            print(f"round {number + 1} of {options.rounds}: {tallies[-1].pending} pending when the lies ended, "
                  f"{len(tallies[-1].wrong)} wrong", file=sys.stderr)  # fmt: skip
            if tallies[-1].wrong:
                break
        return tallies, front.told(), ledger


def config_of(directory: Path, alt: EmbeddedS3, front: LyingS3) -> Config:
    """Short times, and a disk that is soon full."""
    times = {"connect_timeout": Duration(1), "request_timeout": Duration(2), "retry_timeout": Duration(1)}
    section = alt.section(
        endpoint=front.endpoint, max_retries=1, multipart_threshold=Size(5 * 2**20),
        multipart_part_size=Size(5 * 2**20), **times,
    )  # fmt: skip
    return config_for(
        directory, section, queue=QueueSection(backoff=Duration(0.2), max_backoff=Duration(1)),
        write=WriteSection(alt_patience=Duration(2)),
        memory=MemorySection(max_bytes=Size(2**20), max_object=Size(64 * 1024)),
        disk=DiskSection(max_bytes=Size(48 * 2**20), min_free=Share(bytes=2**30)),
    )  # fmt: skip


def shown(tallies: list[Tally], told: Counter[str], ledger: Ledger) -> str:
    """The two tables."""
    lies: dict[str, Counter[str]] = {}
    for text, count in told.items():
        lie, _, kind = text.rpartition(" to ")
        lies.setdefault(lie, Counter())[kind] += count
    head = ["lie told to", *KINDS, "all"]
    rows = [[lie, *(str(of[kind] or "") for kind in KINDS), str(of.total())] for lie, of in sorted(lies.items())]
    rows.append(["all", *(str(sum(of[kind] for of in lies.values())) for kind in KINDS), str(told.total())])
    counts = sum((tally.counts for tally in tallies), Counter())
    acknowledged = ledger.counts["written"] + ledger.counts["copied"] + ledger.counts["deleted"]
    put_off = sum(count for name, count in counts.items() if name.endswith("put off"))
    facts = [
        ("operations", counts["operations"]), ("changes acknowledged", acknowledged),
        ("reads answered", counts["read answered"]), ("put off (try again)", put_off),
        ("uploads pending when the lies ended", sum(tally.pending for tally in tallies)),
        ("writes alt took and nobody acknowledged", counts["never acknowledged, swept"]), ("lies", told.total()),
        *((name, counts[name]) for name in WRONG),
    ]  # fmt: skip
    return report.table(head, rows) + "\n\n" + report.table(["what", "count"], [[name, f"{n:,}"] for name, n in facts])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=float, default=120.0, help="load in all rounds together (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=4, help="how often to compare (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=8, help="connections at once (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides lies and operations (default: %(default)s)")
    parser.add_argument("--dir", help="where to work (default: the system's temporary directory)")
    options = parser.parse_args()
    try:
        tallies, told, ledger = run(options)
    except Failed as error:
        print(f"FAILED: {error}")
        return 1
    print(shown(tallies, told, ledger))
    wrong = [text for tally in tallies for text in tally.wrong]
    for text in wrong[:20]:
        print(text)
    zeros = ", ".join(f"{sum(tally.counts[name] for tally in tallies)} {name}" for name in WRONG)
    kinds = len({text.rpartition(" to ")[0] for text in told})
    print(f"{'FAILED' if wrong else 'OK'}: {told.total()} lies of {kinds} kinds, {zeros}")
    return 1 if wrong or not told.total() else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Alt is killed, then the proxy, while uploads wait; then both come back. Nothing acknowledged may be lost.

A real SeaweedFS and a real ``tierproxy serve``. Clients deliver mails (ack ``both``, which queues while alt is down,
and ack ``disk``), overwrite, delete and read them. A ledger outside the node notes each operation before it is sent
and again when it is acknowledged; every line is fsynced. In each round:

  1. everything runs;
  2. SIGKILL to SeaweedFS: reads of what is on disk and writes go on, acknowledged with ``x-tierproxy-tiers: disk``;
  3. SIGKILL to the proxy under full load, with uploads pending (if none were, the test proves nothing and fails);
  4. the proxy alone comes back: everything acknowledged must be readable;
  5. SeaweedFS comes back: the queue must run empty;
  6. every key is compared in SeaweedFS itself, through the proxy, and through the proxy once more after a purge of
     the whole disk: right bytes, no deleted key, no overwritten content; ``tierproxy check`` finds nothing.

An operation that was never acknowledged may have happened or not; anything else is a failure. Exit 0 only without any.
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
from dataclasses import dataclass, field
from typing import Any

import report
from ledger import GONE, Ledger, digest_of, outcome_of, verdict
from served import BUCKET, Failed, Served, config_for, seaweed, served, workplace

from tierproxy.alt.client import s3_client
from tierproxy.cli.client import ObjectClient, Unreachable
from tierproxy.config.sections import QueueSection
from tierproxy.config.values import Duration
from tierproxy.embedded import EmbeddedS3
from tierproxy.errors import TierproxyError
from tierproxy.model import ObjectName
from tierproxy.store.check import Kind
from tierproxy.testing.mails import mail

DRAINING = 120.0  #: seconds the queue has to run empty once alt is back
MODELS = 60  #: different mails; each delivery makes its own of one of them
LEFTOVER = str(Kind.FILE_WITHOUT_ROW)
LARGEST = 300_000  #: bytes; larger mails belong to another test


@dataclass
class Tally:
    """What one round saw."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    pending: int = 0
    drained: float = 0.0

    def fail(self, text: str) -> None:
        self.wrong.append(text)


class Writer:
    """One client: its keys are its own, so it knows the order of their changes."""

    def __init__(self, number: int, seed: int, ledger: Ledger, models: list[bytes]) -> None:
        self._number = number
        self._chance = random.Random(f"{seed}/{number}")
        self._ledger = ledger
        self._models = models
        self._serial = 0
        self.keys: list[str] = []

    def work(self, proxy: Served, tally: Tally, state: State) -> None:
        """Until stopped, or until the proxy is gone."""
        with closing(ObjectClient(proxy.door)) as client:
            while not state.stop.is_set():
                down = state.alt_down.is_set()
                try:
                    self._step(client, tally, down)
                except Unreachable as error:
                    if not state.proxy_killed.is_set() and proxy_lives(proxy):
                        tally.fail(f"refused: {error}")
                    return
                except TierproxyError as error:
                    tally.fail(f"{type(error).__name__}: {error}")
                    return

    def _step(self, client: ObjectClient, tally: Tally, down: bool) -> None:
        known = self._ledger.certain(self.keys)
        dice = self._chance.random()
        if not known or dice < 0.45:
            self.keys.append(f"user{self._number}/mailboxes/INBOX/dbox-Mails/u.{len(self.keys) + 1}")
            self._put(client, self.keys[-1], "delivered", tally, down)
        elif dice < 0.6:
            self._put(client, self._chance.choice(known), "overwritten", tally, down)
        elif dice < 0.72:
            self._delete(client, self._chance.choice(known), tally, down)
        else:
            self._read(client, self._chance.choice(self.keys), tally, down)

    def _put(self, client: ObjectClient, key: str, kind: str, tally: Tally, down: bool) -> None:
        self._serial += 1
        content = b"X-Load: %d/%d %s\r\n" % (self._number, self._serial, key.encode()) + self._chance.choice(
            self._models
        )
        digest = hashlib.sha256(content).hexdigest()
        headers = {"x-tierproxy-ack": "disk"} if self._chance.random() < 0.4 else {}
        self._ledger.intend(key, digest)
        tiers = client.put(ObjectName(BUCKET, key), content, len(content), headers).headers["x-tierproxy-tiers"]
        self._ledger.acknowledge(key, digest, kind)
        tally.counts[f"{kind}, tiers {tiers}{', alt down' if down else ''}"] += 1
        if down and tiers != "disk":
            tally.fail(f"{key}: acknowledged as on {tiers} while alt was down")

    def _delete(self, client: ObjectClient, key: str, tally: Tally, down: bool) -> None:
        self._ledger.intend(key, GONE)
        client.delete(ObjectName(BUCKET, key))
        self._ledger.acknowledge(key, GONE, "deleted")
        tally.counts[f"deleted{', alt down' if down else ''}"] += 1

    def _read(self, client: ObjectClient, key: str, tally: Tally, down: bool) -> None:
        found = digest_of(lambda: client.read(ObjectName(BUCKET, key))[1])
        tally.counts[f"read{', alt down' if down else ''}"] += 1
        if found not in self._ledger.allowed[key]:
            tally.fail(f"{key}: a read under load got {verdict(found)}")


@dataclass
class State:
    """What the clients are told of the world."""

    stop: threading.Event = field(default_factory=threading.Event)
    alt_down: threading.Event = field(default_factory=threading.Event)
    proxy_killed: threading.Event = field(default_factory=threading.Event)


def proxy_lives(proxy: Served) -> bool:
    return bool(proxy.resident())


class Outage:
    """One world through all its rounds."""

    def __init__(self, options: argparse.Namespace, alt: EmbeddedS3, proxy: Served, ledger: Ledger) -> None:
        models = (mail(number, options.seed).content for number in range(MODELS))
        contents = [content for content in models if len(content) <= LARGEST]
        self._options = options
        self._alt = alt
        self._proxy = proxy
        self._ledger = ledger
        self._writers = [Writer(number, options.seed, ledger, contents) for number in range(options.clients)]

    def round(self) -> Tally:
        """All six steps. Ends with both running and the queue empty; or early, when something is lost already."""
        tally = Tally()
        self._work_and_kill(tally)
        self._compare("alt still dead", tally, self._through_proxy())
        if tally.wrong:
            return tally
        self._alt.start()
        self._drain(tally)
        self._compare("in SeaweedFS", tally, self._in_alt(), listed=self._listed_in_alt())
        self._compare("through the proxy", tally, self._through_proxy())
        self._purge(tally)
        self._compare("after a purge", tally, self._through_proxy())
        self._settle(tally)
        return tally

    def _work_and_kill(self, tally: Tally) -> None:
        state, seconds = State(), self._options.seconds
        with ThreadPoolExecutor(len(self._writers)) as threads:
            try:
                running = [threads.submit(writer.work, self._proxy, tally, state) for writer in self._writers]
                time.sleep(seconds / 3)
                self._alt.kill()
                time.sleep(0.05)  # an answer under way may still have come from alt
                state.alt_down.set()
                time.sleep(seconds * 2 / 3)
                state.proxy_killed.set()
                self._proxy.kill()
            finally:
                state.proxy_killed.set()
                state.stop.set()
            for one in running:
                one.result()
        tally.pending = self._pending()
        if not tally.pending:
            tally.fail("nothing was pending when the proxy was killed: this round proves nothing")
        self._proxy.start()

    def _pending(self) -> int:
        """Jobs in the upload journal, whether the proxy runs or not."""
        answer = self._proxy.command("queue", "list", "--json", "--limit", "0")
        if answer.code:
            raise Failed(f"tierproxy queue list: {answer.errors}")
        return int(json.loads(answer.text)["totals"]["jobs"])

    def _drain(self, tally: Tally) -> None:
        begin = time.monotonic()
        self._proxy.command("queue", "hurry")
        while self._pending():
            if time.monotonic() - begin > DRAINING:
                raise Failed(f"the queue is not empty {DRAINING:.0f} s after alt came back")
            time.sleep(0.1)
        tally.drained = time.monotonic() - begin

    def _purge(self, tally: Tally) -> None:
        """Everything off the disk: what comes back from now on comes from alt."""
        self._proxy.stop()
        self._check(tally)
        tally.counts["bytes purged"] = self._proxy.purge()
        self._proxy.start()

    def _check(self, tally: Tally) -> None:
        """A kill between publishing a file and its row leaves the file, which a repair removes; no other finding is
        fine."""
        found = json.loads(self._proxy.command("check", "--repair", "--json").text)["findings"]
        tally.counts["leftover files removed"] = found.pop(LEFTOVER, {"repaired": 0})["repaired"]
        again = self._proxy.command("check")
        if found or again.code:
            tally.fail(f"tierproxy check: {found or again.text.strip()}")

    # ---------------------------------------------------------------- comparing

    def _compare(self, where: str, tally: Tally, found: dict[str, str], *, listed: set[str] | None = None) -> None:
        for key, allowed in self._ledger.allowed.items():
            if found[key] not in allowed:
                tally.fail(f"{key} {where}: {verdict(found[key])}")
        if listed is not None and (ghosts := listed - {key for key, digest in found.items() if digest != GONE}):
            tally.fail(f"{where}: listed and not there: {sorted(ghosts)[:5]}")
        tally.counts[f"compared {where}"] = len(found)
        self._last = found

    def _through_proxy(self) -> dict[str, str]:
        def read(keys: list[str]) -> dict[str, str]:
            with closing(ObjectClient(self._proxy.door)) as client:
                return {key: outcome_of(lambda key=key: client.read(ObjectName(BUCKET, key))[1]) for key in keys}  # type: ignore[misc]

        return self._by_many(read)

    def _in_alt(self) -> dict[str, str]:
        def read(keys: list[str]) -> dict[str, str]:
            with closing(s3_client(self._alt.section())) as client:
                return {key: _alt_digest(client, key) for key in keys}

        return self._by_many(read)

    def _by_many(self, read: Callable[[list[str]], dict[str, str]]) -> dict[str, str]:
        keys = list(self._ledger.allowed)
        with ThreadPoolExecutor(4) as threads:
            found = threads.map(read, (keys[start::4] for start in range(4)))
            return {key: digest for part in found for key, digest in part.items()}

    def _listed_in_alt(self) -> set[str]:
        with closing(s3_client(self._alt.section())) as client:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
            return {one["Key"] for page in pages for one in page.get("Contents", [])}

    def _settle(self, tally: Tally) -> None:
        """What came of the operations nobody answered is the truth from now on."""
        for key, allowed in list(self._ledger.allowed.items()):
            if len(allowed) > 1:
                tally.counts["unanswered, settled"] += 1
                self._ledger.settle(key, self._last[key])


def _alt_digest(client: Any, key: str) -> str:
    try:
        return hashlib.sha256(client.get_object(Bucket=BUCKET, Key=key)["Body"].read()).hexdigest()
    except client.exceptions.NoSuchKey:
        return GONE


def run(options: argparse.Namespace) -> tuple[list[Tally], Ledger]:
    with workplace(options.dir, 4 * 2**30) as directory, seaweed(directory) as alt:
        config = config_for(
            directory, alt.section(max_retries=0), queue=QueueSection(max_backoff=Duration(2))
        )  # fmt: skip
        ledger = Ledger(directory / "ledger.jsonl")
        with closing(ledger), served(directory, config) as proxy:
            outage = Outage(options, alt, proxy, ledger)
            tallies = []
            for number in range(options.rounds):
                tallies.append(outage.round())
                print(f"round {number + 1} of {options.rounds}: {tallies[-1].pending} pending at the kill, "
                      f"{len(tallies[-1].wrong)} wrong", file=sys.stderr)  # fmt: skip
                if tallies[-1].wrong:
                    break
            return tallies, ledger


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0, help="load in each round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="kills of alt and proxy (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=8, help="connections at once (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides what the clients do (default: %(default)s)")
    parser.add_argument("--dir", help="where to work (default: the system's temporary directory)")
    options = parser.parse_args()
    try:
        tallies, ledger = run(options)
    except Failed as error:
        print(f"FAILED: {error}")
        return 1
    names = sorted({name for tally in tallies for name in tally.counts})
    rows = [[name, *(str(tally.counts[name]) for tally in tallies)] for name in names]
    rows.append(["pending at the kill", *(str(tally.pending) for tally in tallies)])
    rows.append(["seconds to an empty queue", *(f"{tally.drained:.1f}" for tally in tallies)])
    print(report.table(["what", *(f"round {number + 1}" for number in range(len(tallies)))], rows))
    wrong = [text for tally in tallies for text in tally.wrong]
    for text in wrong[:20]:
        print(text)
    sums = ", ".join(f"{count} {kind}" for kind, count in sorted(ledger.counts.items()))
    print(f"{'FAILED: ' + str(len(wrong)) + ' wrong' if wrong else 'OK: nothing acknowledged was lost'} ({sums})")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

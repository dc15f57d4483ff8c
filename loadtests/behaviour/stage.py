"""Where a play takes place: a SeaweedFS behind a relay, a ``tierproxy serve``, the mail, and locust as its audience."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from keepalive import exchange, head
from served import ACCESS_KEY_ID, BUCKET, ENVIRONMENT, SECRET, Failed, Served, config_for
from signing import Signer

from behaviour.orders import DIRECTORY, PROXY, S3, Orders, Phase, Target
from behaviour.plays import SLOW, Act, Before, Event, Play
from behaviour.samples import Samples, Verb
from behaviour.town import Mail, Town
from behaviour.verdicts import Counted, Verdict, counts, difference, expected, right
from tierproxy.cli.client import Door, ObjectClient
from tierproxy.config.sections import BucketSection, KeySection
from tierproxy.embedded import EmbeddedS3
from tierproxy.errors import TierproxyError
from tierproxy.model import ObjectName
from tierproxy.testing.s3relay import S3Relay

FILE = Path(__file__).resolve().parent.parent / "scenarios.py"
STARTING = 60.0  #: seconds locust has for all users to be there
BETWEEN = 0.5  #: seconds in which what was begun in a phase ends, before something happens
SETTLING = 30.0  #: seconds the counts and the queue have, once nobody asks any more
AT_ONCE = 8
SEARCHERS = 200  #: access keys for clients that search


class Stage:
    """One play's world. ``directory``: the play's own; ``listen``: options of ``[listen]``."""

    def __init__(
        self, play: Play, directory: Path, alt: EmbeddedS3, relay: S3Relay, town: Town, listen: Mapping[str, Any]
    ) -> None:
        self.play = play
        self.town = town
        self.orders = Orders(directory)
        self._alt = alt
        self._relay = relay
        self._prefix = f"{play.name}/"
        self.warmed: Counter[str] = Counter()
        clients = [ACCESS_KEY_ID, *(box.client for box in town.boxes), *(f"search{n}" for n in range(SEARCHERS))]
        config = config_for(
            directory, alt.section(endpoint=relay.endpoint),
            bucket=(BucketSection(name=BUCKET, alt_prefix=self._prefix),),
            key=tuple(KeySection(access_key_id=client, secret=SECRET) for client in clients),
        )  # fmt: skip
        self.proxy = Served(directory, replace(config, listen=replace(config.listen, **listen)))

    @contextmanager
    def open(self) -> Iterator[None]:
        """The node runs and the mail is where the play wants it."""
        self._relay.set()
        there = Target(self._relay.endpoint, BUCKET, self._alt.secret_key, self._alt.access_key, self._prefix)
        if self.play.before is Before.NEW_SERVER:
            asyncio.run(_send(there, "PUT", list(self.town.everything())))
        self.proxy.start()
        try:
            targets = {PROXY: Target(self.proxy.url, BUCKET, SECRET), S3: there}
            self.orders.keep_targets(targets)
            self.town.save(self.orders.town)
            if self.play.before is not Before.NEW_SERVER:
                self._prepare(targets[PROXY])
            yield
        finally:
            self.proxy.stop()

    def _prepare(self, proxy: Target) -> None:
        """Deliver everything, and read what is read every day."""
        asyncio.run(_send(proxy, "PUT", list(self.town.everything())))
        if self.play.before is Before.FORGOTTEN:
            self.purge()
        mails = list(self.town.mails())
        random.Random(1).shuffle(mails)  # in key order it would be a scan
        asyncio.run(_send(proxy, "GET", mails))
        self.warmed = Counter(mail.key.partition("/")[0] for mail in mails)

    # ---------------------------------------------------------------- the play

    def perform(self, users: int, seconds: float, report: Path) -> Samples:
        """All acts, one after the other. ``report``: locust's own page. Raises Failed."""
        command = [
            sys.executable, "-m", "locust", "-f", str(FILE), "--headless", "-u", str(users), "-r", str(users),
            "--host", self.proxy.url, "--html", str(report), "--loglevel", "ERROR", "--stop-timeout", "20",
            "--only-summary", "MorningInbox",
        ]  # fmt: skip
        environment = ENVIRONMENT | {DIRECTORY: str(self.orders.directory)}
        with (self.orders.directory / "locust.log").open("w+") as log:
            locust = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
            try:
                _wait(lambda: self.orders.ready.exists() or locust.poll() is not None, STARTING, "locust's users")
                for act in self.play.acts:
                    self._act(act, seconds)
                self.orders.announce(Phase("end", idle=True, over=True))
                locust.wait(60)
            finally:
                locust.kill()
                locust.wait()
            log.seek(0)
            said = log.read()
        if locust.returncode or not self.orders.samples.exists():
            raise Failed(f"locust ended with {locust.returncode}: {said[-1500:]}")
        return Samples.read(self.orders.samples)

    def _act(self, act: Act, seconds: float) -> None:
        self.orders.announce(Phase("between", idle=True))
        time.sleep(BETWEEN)
        if act.event is Event.PURGE:
            self.purge()
        elif act.event is Event.SLOW_S3:
            self._relay.set(delays=SLOW)
        self.orders.announce(act.phase)
        time.sleep(seconds * act.share)

    def purge(self) -> None:
        """Everything off the disk, through the running node. Raises Failed."""
        done = self.proxy.command("purge", BUCKET, "--all", "--yes", "--json")
        if done.code:
            raise Failed(f"tierproxy purge: {done.text} {done.errors}")

    # ---------------------------------------------------------------- afterwards

    def judge(self, samples: Samples) -> list[Verdict]:
        """Everything that must hold. S3 is quick again."""
        self._relay.set()
        wanted = expected(samples, self.warmed)
        found = self._settled(wanted)
        verdicts = [*right(samples), *counts(found, wanted), *self._lost(samples)]
        return verdicts + [check.judge(samples) for check in self.play.checks]

    def _settled(self, wanted: Counted) -> Counted:
        """The counts, once they are what they should be or had their time."""
        deadline = time.monotonic() + SETTLING
        while True:
            found = self._counted()
            wrong = difference(found.people, wanted.people) + difference(found.machines, wanted.machines)
            if not wrong or time.monotonic() > deadline:
                return found
            time.sleep(0.5)

    def _counted(self) -> Counted:
        answer = self._asked("stats", "--by", "owner", "--limit", "0", "--json")
        people = Counter({row["label"]: row["reads"] for row in answer["rows"]})
        return Counted(people, Counter({row["label"]: row["machine_reads"] for row in answer["rows"]}))

    def _lost(self, samples: Samples) -> list[Verdict]:
        """Every acknowledged delivery is read back, from the node and from S3 itself."""
        delivered = [Mail(one.key, one.size) for one in samples.of(verb=Verb.DELIVER, source="")]
        _wait(lambda: not self._asked("queue", "list", "--json", "--limit", "0")["totals"]["jobs"], SETTLING, "uploads")
        there = Door(
            "127.0.0.1", self._alt.ports["s3"], access_key_id=self._alt.access_key, secret=self._alt.secret_key
        )  # fmt: skip
        return [
            Verdict("acknowledged mail the node cannot give back", _missing(self.proxy.door, "", delivered), 0),
            Verdict("acknowledged mail that is not in S3", _missing(there, self._prefix, delivered), 0),
        ]

    def _asked(self, *command: str) -> Any:
        done = self.proxy.command(*command)
        if done.code:
            raise Failed(f"tierproxy {' '.join(command)}: {done.errors}")
        return json.loads(done.text)


def _wait(reached: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not after {seconds:g} s")
        time.sleep(0.05)


async def _send(target: Target, method: str, mails: Sequence[Mail]) -> None:
    """PUT or GET all ``mails``."""
    host = target.url.removeprefix("http://")
    name, _, port = host.rpartition(":")
    signer = Signer(target.access_key or ACCESS_KEY_ID, target.secret)
    for start in range(0, len(mails), 1000):  # signatures are good for fifteen minutes
        requests = list(_requests(signer, target, host, method, mails[start : start + 1000]))
        await exchange((name, int(port)), requests, AT_ONCE, 600, again=False)


def _requests(
    signer: Signer, target: Target, host: str, method: str, mails: Iterable[Mail]
) -> Iterator[tuple[bytes, bytes]]:
    for mail in mails:
        body = mail.content() if method == "PUT" else b""
        path = f"/{target.bucket}/{quote(target.prefix + mail.key)}"
        length = {"content-length": str(mail.size)} if body else {}
        yield head(method, path, signer.headers(method, host, path, time.time(), body=body) | length), body


def _missing(door: Door, prefix: str, mails: Sequence[Mail]) -> int:
    """How many of ``mails`` are not there, byte for byte."""

    def look(part: Sequence[Mail]) -> int:
        with closing(ObjectClient(door)) as client:
            return sum(not _is_there(client, prefix, mail) for mail in part)

    with ThreadPoolExecutor(4) as threads:
        return sum(threads.map(look, (mails[start::4] for start in range(4))))


def _is_there(client: ObjectClient, prefix: str, mail: Mail) -> bool:
    try:
        return client.read(ObjectName(BUCKET, prefix + mail.key))[1] == mail.content()
    except TierproxyError:
        return False

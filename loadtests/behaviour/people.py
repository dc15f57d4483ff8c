"""The locust users: a mail server's connections, each of which acts for one owner after the other.

With a director (``scenarios.py`` as a program) they do what its phases say, with mail that is there. With plain
``locust -f loadtests/scenarios.py`` they deliver the mail first, and the class that is chosen says what they do.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, cast
from urllib.parse import quote, urlsplit

import gevent
from locust import FastHttpUser, events
from signing import Signer, query_text

from behaviour.orders import DIRECTORY, PROXY, S3, Orders, Phase, Target
from behaviour.samples import DIRECT, HIT, MISS, Sample, SampleFile, Verb, Who
from behaviour.town import Mail, Mailbox, Town

LOOK = 0.05  #: seconds between two looks at the orders
STRIDE = 7  #: mailboxes between two that one client searches, where many clients search
BUSY = 0.005  #: seconds between two actions of a client that makes no pause
EVERYBODY = 10**6
MAILS = 10  #: an owner's, without a director
NUMBERS = itertools.count(1)


class Scene:
    """What all users of the process share. Without a director ``orders`` is None, and there is one target."""

    def __init__(self) -> None:
        named = os.environ.get(DIRECTORY)
        self.orders = Orders(Path(named)) if named else None
        self.phase: Phase | None = None
        self.stocked = self.orders is not None  #: the mail is there
        self.began = time.monotonic()
        self._signers: dict[tuple[str, str], Signer] = {}
        self._log = SampleFile(self.orders.samples) if self.orders else None
        self.town = Town.load(self.orders.town) if self.orders else Town.drawn(20, MAILS)
        self.targets = self.orders.targets() if self.orders else {}

    def open_to(self, url: str) -> None:
        """Without a director: the proxy locust was given."""
        bucket = os.environ.get("TIERPROXY_LOAD_BUCKET", "mail")
        secret, key = os.environ["TIERPROXY_LOAD_SECRET"], os.environ["TIERPROXY_LOAD_KEY"]
        self.targets = {PROXY: Target(url, bucket, secret, key, f"load-{os.getpid()}/")}

    def follow(self, runner: Any) -> None:
        """Look at the orders until the play is over."""
        assert self.orders is not None
        while self.phase is None or not self.phase.over:
            self.phase = self.orders.phase()
            gevent.sleep(LOOK)
        runner.quit()

    def signer(self, target: Target, client: str) -> Signer:
        key = target.access_key or client
        found = self._signers.get((key, target.url))
        if found is None:
            found = self._signers[key, target.url] = Signer(key, target.secret)
        return found

    def note(self, sample: Sample) -> None:
        if self._log is not None:
            self._log.add(sample)


class MailServer(FastHttpUser):
    """What every user can do. Locust's request names are what was done, where the answer came from, and the phase."""

    abstract = True
    phase: ClassVar[Phase] = Phase("plain")
    scene: ClassVar[Scene]
    network_timeout = 60.0
    connection_timeout = 60.0

    def on_start(self) -> None:
        self.number = next(NUMBERS)
        self.chance = random.Random(self.number)
        self._walk: list[tuple[Mailbox, Mail]] = []
        self._searched = 0
        if self.scene.orders is None and self.number == 1:
            for box in self.scene.town.boxes:
                for mail in box.mails:
                    self._put(box, mail, "deliver, before it begins")
            self.scene.stocked = True

    def wait_time(self) -> float:
        phase = self._phase()
        if phase is None or phase.idle:
            return LOOK
        restless = self.number <= phase.burst + phase.scans
        return BUSY if restless else self.chance.uniform(phase.pause / 4, phase.pause)

    def act(self) -> None:
        """One action of the current phase."""
        phase, town = self._phase(), self.scene.town
        if phase is None or phase.idle:
            return
        if self.number <= phase.burst:
            self._deliver(phase, town.somebody(self.chance))
        elif self.number <= phase.burst + phase.scans:
            self._search(phase)
        else:
            self._person(phase, town.somebody(self.chance))

    tasks = [act]  # noqa: RUF012  locust's way; it counts them, and changes nothing

    def _phase(self) -> Phase | None:
        if self.scene.orders is not None:
            return self.scene.phase
        return self.phase if self.scene.stocked else None

    def _person(self, phase: Phase, box: Mailbox) -> None:
        dice = self.chance.random()
        if dice < phase.deliveries:
            self._deliver(phase, box)
        elif dice < phase.deliveries + phase.listings:
            self._list(phase, box)
        elif mail := self._wanted(phase, box):
            self._read(phase, box, mail)

    def _wanted(self, phase: Phase, box: Mailbox) -> Mail | None:
        old = self._forgotten(box) if self.chance.random() < phase.cold else None
        return old or self.scene.town.recent(box, self.chance)

    def _forgotten(self, box: Mailbox) -> Mail | None:
        """The next mail of anybody that was not opened for long: each once."""
        boxes = [box, *self.scene.town.boxes]
        return next((one.cold.pop() for one in boxes if one.cold), None)

    def _search(self, phase: Phase) -> None:
        """The next mail of a whole mailbox, oldest first, then of the next one: what searches without an index read.
        Each search is a client of its own."""
        if not self._walk:
            boxes = self.scene.town.boxes
            self._searched += 1
            box = boxes[(self.number - 1 + self._searched * min(phase.scans, STRIDE)) % len(boxes)]
            self._walk = [(box, mail) for mail in sorted(box.mails, key=lambda mail: (len(mail.key), mail.key))]
        if self._walk:
            box, mail = self._walk.pop(0)
            self._read(phase, box, mail, Who.SCAN, f"search{self.number}")

    # ---------------------------------------------------------------- requests

    def _read(self, phase: Phase, box: Mailbox, mail: Mail, who: Who = Who.PEOPLE, client: str = "") -> None:
        target = self.scene.targets[phase.target]
        headers = self._signed(target, "GET", mail.key, client or box.client)
        begin = time.monotonic()
        with self.client.get(
            self._url(target, mail.key), headers=headers, catch_response=True, name="read"
        ) as answer:  # fmt: skip
            content = answer.content or b""
            tier = (answer.headers or {}).get("x-tierproxy-tier", "")
            source = DIRECT if phase.target == S3 else HIT if tier in {"memory", "disk"} else MISS
            error = self._error(answer)
            if not error and content != mail.content():
                error = f"{mail.key}: {len(content)} bytes that are not the {mail.size} of the mail"
            sample = Sample(
                phase.name, who, client or box.client, Verb.READ, source, box.owner, mail.key, mail.size, _since(begin),
                begin - self.scene.began, error,
            )  # fmt: skip
            self._end(answer, f"{who} {Verb.READ}, {source} [{phase.name}]", sample)

    def _deliver(self, phase: Phase, box: Mailbox) -> None:
        mail = Mail(box.new_key(f"{self.chance.getrandbits(48):012x}"), self.scene.town.size(self.chance))
        error = self._put(box, mail, f"{Verb.DELIVER} [{phase.name}]", phase)
        if not error and phase.target == PROXY:
            box.mails.append(mail)

    def _put(self, box: Mailbox, mail: Mail, name: str, phase: Phase | None = None) -> str:
        phase = phase or Phase("before")
        target, content = self.scene.targets[phase.target], mail.content()
        key = mail.key if phase.target == PROXY else f"direct/{mail.key}"
        headers = self._signed(target, "PUT", key, box.client, content=content)
        begin = time.monotonic()
        with self.client.put(
            self._url(target, key), data=cast(Any, content), headers=headers, catch_response=True, name=name
        ) as answer:  # fmt: skip
            error, source = self._error(answer), DIRECT if phase.target == S3 else ""
            sample = Sample(
                phase.name, Who.PEOPLE, box.client, Verb.DELIVER, source, box.owner, mail.key, mail.size, _since(begin),
                begin - self.scene.began, error,
            )  # fmt: skip
            self._end(answer, name, sample)
        return error

    def _list(self, phase: Phase, box: Mailbox) -> None:
        target = self.scene.targets[phase.target]
        query = {"list-type": "2", "prefix": f"{target.prefix}{box.owner}/mailboxes/", "max-keys": "100"}
        headers = self._signed(target, "GET", "", box.client, query)
        begin = time.monotonic()
        with self.client.get(
            f"{target.url}/{target.bucket}?{query_text(query)}", headers=headers, catch_response=True, name="list"
        ) as answer:  # fmt: skip
            source = DIRECT if phase.target == S3 else ""
            sample = Sample(
                phase.name, Who.PEOPLE, box.client, Verb.LIST, source, box.owner, "", 0, _since(begin),
                begin - self.scene.began, self._error(answer),
            )  # fmt: skip
            self._end(answer, f"{Verb.LIST} [{phase.name}]", sample)

    def _signed(
        self, target: Target, method: str, key: str, client: str, query: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> dict[str, str]:  # fmt: skip
        path, host = f"/{target.bucket}" + self._path(target, key), urlsplit(target.url).netloc
        signer = self.scene.signer(target, client)
        return signer.headers(method, host, path, time.time(), query, content)

    @staticmethod
    def _path(target: Target, key: str) -> str:
        return "/" + quote(target.prefix + key) if key else ""

    def _url(self, target: Target, key: str) -> str:
        return f"{target.url}/{target.bucket}{self._path(target, key)}"

    @staticmethod
    def _error(answer: Any) -> str:
        if answer.status_code == 200:
            return ""
        return f"{answer.status_code} {(answer.content or b'')[:200]!r}"

    def _end(self, answer: Any, name: str, sample: Sample) -> None:
        answer.request_meta["name"] = name
        if sample.error:
            answer.failure(sample.error)
        else:
            answer.success()
        self.scene.note(sample)


def _since(begin: float) -> float:
    return (time.monotonic() - begin) * 1000


class MorningInbox(MailServer):
    """Opens the inbox, reads what came, and some of it again."""

    weight = 10
    phase = Phase("morning")


class DeliveryBurst(MailServer):
    """Delivers without a pause, to anybody."""

    weight = 1
    phase = Phase("burst", burst=EVERYBODY)


class SearchScan(MailServer):
    """Reads one mailbox after the other, mail by mail."""

    weight = 1
    phase = Phase("search", scans=EVERYBODY)


def _set_the_scene(environment: Any, **_rest: Any) -> None:
    scene = MailServer.scene = Scene()
    if scene.orders is not None:
        gevent.spawn(scene.follow, environment.runner)


def _open(environment: Any, **_rest: Any) -> None:
    if MailServer.scene.orders is None:
        MailServer.scene.open_to(environment.host.rstrip("/"))


def _tell_the_director(user_count: int, **_rest: Any) -> None:
    if MailServer.scene.orders is not None:
        MailServer.scene.orders.ready.write_text(str(user_count))


def _confess(exception: Exception, **_rest: Any) -> None:
    """A user that broke is a failure, whatever its requests were."""
    scene = MailServer.scene
    phase = scene.phase.name if scene.phase else ""
    scene.note(Sample(phase, "", "exception", "", "", "", "", 0, 0.0, time.monotonic() - scene.began, repr(exception)))


def _leave_the_verdict_to_the_director(environment: Any, **_rest: Any) -> None:
    if MailServer.scene.orders is not None:
        environment.process_exit_code = 0


HEARD: tuple[tuple[Any, Callable[..., None]], ...] = (
    (events.init, _set_the_scene), (events.test_start, _open), (events.spawning_complete, _tell_the_director),
    (events.user_error, _confess), (events.quitting, _leave_the_verdict_to_the_director),
)  # fmt: skip
for hook, listener in HEARD:
    hook.add_listener(listener)

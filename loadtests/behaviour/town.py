"""Who has which mail: mailboxes, sizes and folders as ``tierproxy history generate`` draws them, out of a seed."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from tierproxy.history.generate import Traffic
from tierproxy.history.mailboxes import Dice, zipf
from tierproxy.history.traffic_model import TrafficModel, model_for
from tierproxy.traffic import EventKind

DAYS = 5  #: from a Monday on
LARGEST = 1_000_000  #: bytes; a few mails of many megabytes would be most of a short run
INBOX = "INBOX"


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail there is; its content follows from both."""

    key: str
    size: int

    def content(self) -> bytes:
        piece = hashlib.blake2b(self.key.encode()).digest()
        return (piece * (self.size // len(piece) + 1))[: self.size]


@dataclass
class Mailbox:
    """One owner's mail, the newest last. ``cold``: mail nobody has opened for long, the oldest first."""

    owner: str
    mails: list[Mail] = field(default_factory=list)
    cold: list[Mail] = field(default_factory=list)

    @property
    def client(self) -> str:
        """The owner's access key: to the node everybody is a client of their own."""
        return self.owner.replace("@", "-")

    def new_key(self, mark: str) -> str:
        """Of the next delivery; ``mark`` makes it unique."""
        return f"{self.owner}/mailboxes/{INBOX}/dbox-Mails/u.{len(self.mails) + len(self.cold) + 1}-{mark}"


class Town:
    """All mailboxes, those with most mail first, and who is how busy."""

    def __init__(self, boxes: list[Mailbox], model: TrafficModel) -> None:
        self.boxes = boxes
        self._model = model
        self._busy = list(accumulate(zipf(len(boxes), model.owner_skew)))

    @classmethod
    def drawn(cls, owners: int, mails: int, *, seed: int = 1, cold: float = 0.0) -> Town:
        """``mails`` an owner on average. ``cold``: this share of each mailbox, the oldest, has not been opened for
        long."""
        model = model_for("office", owners=owners, mails_per_day=mails / DAYS)
        boxes: dict[str, Mailbox] = {}
        for event in Traffic(model, days=DAYS, seed=seed).events():
            if event.kind is EventKind.WRITE and event.owner:
                box = boxes.setdefault(event.owner, Mailbox(event.owner))
                box.mails.append(Mail(event.name.key, min(event.size, LARGEST)))
        for box in boxes.values():
            old = int(len(box.mails) * cold)
            box.cold, box.mails = box.mails[:old], box.mails[old:]
        return cls(sorted(boxes.values(), key=lambda box: -len(box.mails)), model)

    def somebody(self, chance: random.Random) -> Mailbox:
        """An owner, the busy ones more often (Zipf's law, ``owner_skew``)."""
        return chance.choices(self.boxes, cum_weights=self._busy)[0]

    def recent(self, box: Mailbox, chance: random.Random) -> Mail | None:
        """Mostly what came last: the probability falls with the rank."""
        return box.mails[-1 - Dice(chance, self._model).rank(len(box.mails))] if box.mails else None

    def size(self, chance: random.Random) -> int:
        """Of a new mail: that of one there is."""
        box = chance.choice(self.boxes)
        return chance.choice(box.mails or box.cold).size

    def mails(self) -> Iterator[Mail]:
        """Those that are read every day."""
        for box in self.boxes:
            yield from box.mails

    def everything(self) -> Iterator[Mail]:
        for box in self.boxes:
            yield from box.cold
            yield from box.mails

    def save(self, file: Path) -> None:
        pairs = [[box.owner, _pairs(box.mails), _pairs(box.cold)] for box in self.boxes]
        file.write_text(json.dumps(pairs))

    @classmethod
    def load(cls, file: Path) -> Town:
        boxes = [Mailbox(owner, _mails(mails), _mails(cold)) for owner, mails, cold in json.loads(file.read_text())]
        return cls(boxes, TrafficModel())


def _pairs(mails: list[Mail]) -> list[list[object]]:
    return [[mail.key, mail.size] for mail in mails]


def _mails(pairs: list[list[object]]) -> list[Mail]:
    return [Mail(str(key), int(str(size))) for key, size in pairs]

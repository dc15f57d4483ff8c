"""The owners, devices and mails that generated traffic is about."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate

from tierproxy.history.traffic_model import TrafficModel
from tierproxy.model import ObjectName

DOMAIN = "example.org"
NAMES = (
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "kim", "leo", "mallory",
    "nina", "oscar", "peggy", "quinn", "rupert", "sybil", "trent", "uma", "victor", "wendy", "xavier", "yuki", "zoe",
)  # fmt: skip
RECENT = 30
"""So many mails back does a conversation reach."""
INBOX, SENT, ARCHIVE, TRASH, JUNK = "INBOX", "Sent", "Archive", "Trash", "Junk"


class Kind(StrEnum):
    """What sort of mail it is: how likely it is opened depends on that."""

    PERSONAL = "personal"
    BULK = "bulk"
    LIST = "list"
    JUNK = "junk"
    SENT = "sent"


@dataclass(frozen=True, slots=True)
class Device:
    """A mail client. ``downloads``: it fetches each mail once and shows its own copy; else each opening is a read.
    ``desktop``: it runs in desk hours only."""

    client: str
    downloads: bool
    desktop: bool


@dataclass(slots=True, eq=False)
class Mail:
    """A mail where it lies now. Moving it makes another object: ``name``, ``folder``, ``uid`` and ``written_at`` are of
    the present one. ``earlier``: the mail it answers, until it has been opened."""

    owner: Owner
    kind: Kind
    size: int
    name: ObjectName
    folder: str
    uid: int
    written_at: float
    alive: bool = True
    earlier: Mail | None = None


@dataclass(slots=True, eq=False)
class Owner:
    """A mailbox. ``weight``: its share of all deliveries. ``mails``: those remembered, in order of arrival. ``filed``:
    folders of the lists it has subscribed to, by number of the list."""

    name: str
    weight: float
    devices: tuple[Device, ...]
    mails: list[Mail] = field(default_factory=list)
    dead: int = 0
    uids: dict[str, int] = field(default_factory=dict)
    recent: deque[Mail] = field(default_factory=lambda: deque(maxlen=RECENT))
    filed: dict[int, str] = field(default_factory=dict)
    latest: dict[int, Mail] = field(default_factory=dict)

    def next_name(self, bucket: str, folder: str) -> tuple[ObjectName, int]:
        """The object key of the folder's next mail, as sdbox names it, and its UID."""
        uid = self.uids[folder] = self.uids.get(folder, 0) + 1
        return ObjectName(bucket, f"{self.name}/mailboxes/{folder}/dbox-Mails/u.{uid}"), uid

    def remember(self, mail: Mail, most: int) -> None:
        """Add a mail; the dead ones, and the oldest beyond ``most``, are let go when they are many."""
        self.mails.append(mail)
        if self.dead * 2 > len(self.mails) + 64 or len(self.mails) > most + most // 4 + 64:
            self.mails = [one for one in self.mails if one.alive][-most:]
            self.dead = 0

    def lost(self, mail: Mail) -> None:
        """The mail is deleted for good."""
        mail.alive = False
        mail.earlier = None
        self.dead += 1


@dataclass(frozen=True, slots=True)
class MailingList:
    """``bursts``: expected bursts on a weekday. ``readers``: the owners subscribed."""

    number: int
    bursts: float
    readers: tuple[Owner, ...]


def make_owners(model: TrafficModel, chance: random.Random) -> list[Owner]:
    """In the order of their names; which of them gets much is drawn."""
    weights = zipf(model.owners, model.owner_skew)
    chance.shuffle(weights)
    owners = [Owner(_name(number), weights[number], _devices(model, chance, number)) for number in range(model.owners)]
    return sorted(owners, key=lambda owner: owner.name)


def make_lists(model: TrafficModel, owners: list[Owner], chance: random.Random) -> list[MailingList]:
    """The lists together deliver ``list_share`` of a weekday's mails."""
    readers = [_readers(model, owners, chance) for _ in range(model.lists)]
    weights = zipf(model.lists, 1.0)
    deliveries = sum(weight * len(those) for weight, those in zip(weights, readers, strict=True))
    mails = model.owners * model.mails_per_day * model.list_share / deliveries if deliveries else 0.0
    lists = [
        MailingList(number, mails * weights[number] / max(model.burst_mails, 1.0), tuple(readers[number]))
        for number in range(model.lists)
    ]
    for one in lists:
        for owner in one.readers:
            own_folder = chance.random() < model.list_folders
            owner.filed[one.number] = f"Lists/list-{one.number + 1}" if own_folder else INBOX
    return lists


def _readers(model: TrafficModel, owners: list[Owner], chance: random.Random) -> list[Owner]:
    those = [owner for owner in owners if chance.random() < model.list_readers]
    return those or [chance.choice(owners)]


def zipf(count: int, exponent: float) -> list[float]:
    """Shares that sum to 1, the largest first."""
    raw = [(rank + 1) ** -exponent for rank in range(count)]
    whole = sum(raw)
    return [one / whole for one in raw]


def _name(number: int) -> str:
    turn, which = divmod(number, len(NAMES))
    return f"{NAMES[which]}{turn + 1 if turn else ''}@{DOMAIN}"


def _devices(model: TrafficModel, chance: random.Random, number: int) -> tuple[Device, ...]:
    downloads = chance.random() < model.download_share
    first = Device(f"imap@10.1.{number // 250}.{number % 250 + 1}", downloads, desktop=True)
    if chance.random() >= model.mobile_share:
        return (first,)
    downloads = chance.random() < model.mobile_download_share
    return first, Device(f"imap@10.2.{number // 250}.{number % 250 + 1}", downloads, desktop=False)


class Dice:
    """Draws from one seeded source, in the distributions the model speaks of."""

    def __init__(self, chance: random.Random, model: TrafficModel) -> None:
        self.chance = chance
        self.random = chance.random
        self._hours = list(accumulate(model.hours))

    def log_normal(self, median: float, spread: float) -> float:
        return median * math.exp(self.chance.gauss(0.0, spread))

    def exponential(self, mean: float) -> float:
        return -mean * math.log(1.0 - self.random())

    def geometric(self, mean: float) -> int:
        """1, 2, ... with this mean (at least 1)."""
        return 1 if mean <= 1 else 1 + int(math.log(1.0 - self.random()) / math.log(1.0 - 1.0 / mean))

    def poisson(self, mean: float) -> int:
        """By counting arrivals; a normal approximation above 50."""
        if mean > 50:
            return max(0, round(self.chance.gauss(mean, math.sqrt(mean))))
        count, product, floor = 0, self.random(), math.exp(-mean)
        while product > floor:
            count, product = count + 1, product * self.random()
        return count

    def times(self, count: int) -> list[float]:
        """Seconds of the day, by the hours' weights."""
        hours = self.chance.choices(range(24), cum_weights=self._hours, k=count)
        return [(hour + self.random()) * 3600.0 for hour in hours]

    def rank(self, count: int) -> int:
        """0 to count - 1, with a probability that falls as 1 / (rank + 1)."""
        return min(int(math.exp(self.random() * math.log(count + 1))) - 1, count - 1)

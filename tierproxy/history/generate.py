"""Realistic mail traffic out of a seed: what ``tierproxy.history.traffic_model`` describes, event by event.

Everything that will happen is a *wish* (time, what, to whom) on an agenda. A wish that comes up happens if its mail is
still there, becomes events, and leads to further wishes: a delivery to an opening, an opening to a reply. The agenda is
a heap for today and plain lists for later days, so that not everything is sorted. What is remembered is the live mails
(at most ``remembered`` of an owner) and the wishes of days to come, never the events.

The mailboxes are empty at the start, and nobody serves the reads: their outcome is "", writes are acknowledged by both
tiers. The same model, seed, start and days give the same events; the draws are those of Python's Mersenne Twister.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from itertools import count
from typing import Any

from tierproxy.history.mailboxes import (
    ARCHIVE,
    INBOX,
    JUNK,
    SENT,
    TRASH,
    Device,
    Dice,
    Kind,
    Mail,
    MailingList,
    Owner,
    make_lists,
    make_owners,
)
from tierproxy.history.traffic_model import TrafficModel
from tierproxy.model import Ack
from tierproxy.traffic import DAY, Event, EventKind, Reason

START = date(2025, 1, 6)
"""A Monday."""
BUCKET = "mail"
DELIVERY = "lmtp@10.0.0.1"
LOT = 4096
MORNING = 7 * 3600.0
CLASSES = {folder: folder.lower() for folder in (INBOX, SENT, ARCHIVE, TRASH, JUNK)}
"""Folder classes, as the built-in naming patterns find them in the keys; folders of lists are in none."""

Act = Callable[[float, Any, Any], None]
"""What happens: when, to whom, and whatever else is to be known."""


Wish = tuple[float, int, Act, Any, Any]
Walk = tuple[Iterator[Mail], str, Reason]
"""Mails to be read in turn, by which client, why."""


class Agenda:
    """Wishes in order of time, those of today in a heap. What lies beyond the last day is dropped."""

    def __init__(self, start: float, days: int) -> None:
        self.start = start
        self.days = days
        self.today = -1
        self._heap: list[Wish] = []
        self._later: dict[int, list[Wish]] = {}
        self._order = count()

    def add(self, at: float, act: Act, subject: Any, detail: Any = None) -> None:
        """``act(at, subject, detail)`` shall happen at ``at``, which is not before now."""
        day = int((at - self.start) // DAY)
        if day <= self.today:
            heapq.heappush(self._heap, (at, next(self._order), act, subject, detail))
        elif day < self.days:
            self._later.setdefault(day, []).append((at, next(self._order), act, subject, detail))

    def begin(self, day: int) -> None:
        """Its wishes are next."""
        self.today = day
        self._heap = self._later.pop(day, [])
        heapq.heapify(self._heap)

    def run(self) -> Iterator[None]:
        """Let today's wishes happen, one a step."""
        heap, pop = self._heap, heapq.heappop
        while heap:
            at, _, act, subject, detail = pop(heap)
            act(at, subject, detail)
            yield


class Traffic:
    """One run of the model. ``lots`` can be walked once."""

    def __init__(
        self, model: TrafficModel, *, days: int, seed: int = 1, start: date = START, bucket: str = BUCKET
    ) -> None:
        self.model = model
        self.days = days
        self._bucket = bucket
        chance = random.Random(f"tierproxy traffic/{seed}")
        self._dice = Dice(chance, model)
        self._owners = make_owners(model, chance)
        self._lists = make_lists(model, self._owners, chance)
        begin = datetime(start.year, start.month, start.day, tzinfo=UTC)
        self.start = begin.timestamp()  #: seconds since the epoch, of the first day
        self._weekday = begin.weekday()
        self._agenda = Agenda(self.start, days)
        self._out: list[Event] = []
        self._last_backup = self.start
        self._opened = {
            Kind.PERSONAL: (model.personal_opened, model.personal_delay, model.read_again),
            Kind.BULK: (model.bulk_opened, model.bulk_delay, model.read_again / 3),
            Kind.LIST: (model.list_opened, model.bulk_delay, model.read_again / 3),
            Kind.JUNK: (model.junk_opened, model.bulk_delay, model.read_again / 3),
        }

    def events(self) -> Iterator[Event]:
        """In order of time."""
        for lot in self.lots():
            yield from lot

    def lots(self) -> Iterator[list[Event]]:
        """The same in lists of some thousands."""
        for day in range(self.days):
            self._agenda.begin(day)
            self._plan(day)
            for _ in self._agenda.run():
                if len(self._out) >= LOT:
                    yield self._taken()
            if self._out:
                yield self._taken()

    def _taken(self) -> list[Event]:
        lot, self._out = self._out, []
        return lot

    # ------------------------------------------------------------ the plan of a day

    def _plan(self, day: int) -> None:
        begin = self.start + day * DAY
        busy = self.model.weekdays[(self._weekday + day) % 7]
        self._plan_mails(begin, busy)
        for one in self._lists:
            for at in self._dice.times(self._dice.poisson(one.bursts * busy)):
                self._agenda.add(begin + at, self._burst, one, self._dice.geometric(self.model.burst_mails))
        self._plan_machines(begin, day)

    def _plan_mails(self, begin: float, busy: float) -> None:
        model, dice, add = self.model, self._dice, self._agenda.add
        alone = model.owners * model.mails_per_day * busy * (1 - model.list_share)
        bulk, junk = (part / max(1 - model.list_share, 1e-9) for part in (model.bulk_share, model.junk_share))
        for owner in self._owners:
            for at in dice.times(dice.poisson(alone * owner.weight)):
                drawn = dice.random()
                kind = Kind.BULK if drawn < bulk else Kind.JUNK if drawn < bulk + junk else Kind.PERSONAL
                add(begin + at, self._arrive, owner, kind)
            for at in dice.times(dice.poisson(model.searches_per_day * busy)):
                add(begin + at, self._search, owner)

    def _plan_machines(self, begin: float, day: int) -> None:
        model, dice, add = self.model, self._dice, self._agenda.add
        if model.backup_hour >= 0:
            whole = model.full_backup_days > 0 and day % model.full_backup_days == model.full_backup_days - 1
            add(begin + model.backup_hour * 3600.0, self._back_up, whole)
        for chance, act in (
            (model.index_per_day, self._index), (model.scan_per_day, self._scan), (model.resync_per_day, self._resync)
        ):  # fmt: skip
            for owner in self._owners:
                if dice.random() < chance:
                    add(begin + dice.times(1)[0], act, owner)

    # ------------------------------------------------------------ mail comes

    def _arrive(self, at: float, owner: Owner, kind: Kind) -> None:
        size = self._size(attached=kind is Kind.PERSONAL and self._dice.random() < self.model.attachment_share)
        mail = self._deliver(at, owner, kind, JUNK if kind is Kind.JUNK else INBOX, size)
        if kind is Kind.PERSONAL:
            if owner.recent and self._dice.random() < self.model.in_thread:
                mail.earlier = owner.recent[-1 - self._dice.rank(len(owner.recent))]
            owner.recent.append(mail)

    def _burst(self, at: float, one: MailingList, left: int) -> None:
        """A mail to a list, and the rest of the burst after it."""
        size = self._size(attached=False)
        answers = self._dice.random() < self.model.in_thread
        for owner in one.readers:
            mail = self._deliver(at, owner, Kind.LIST, owner.filed[one.number], size)
            mail.earlier = owner.latest.get(one.number) if answers else None
            owner.latest[one.number] = mail
        if left > 1:
            self._agenda.add(at + self._dice.exponential(self.model.burst_gap), self._burst, one, left - 1)

    def _size(self, *, attached: bool) -> int:
        model = self.model
        size = self._dice.log_normal(model.size_median, model.size_spread)
        if attached:
            size += self._dice.log_normal(model.attachment_median, model.attachment_spread)
        return int(min(max(size, model.size_least), model.size_most))

    def _deliver(self, at: float, owner: Owner, kind: Kind, folder: str, size: int) -> Mail:
        mail = self._store(at, owner, kind, folder, size, DELIVERY)
        for device in owner.devices:
            if device.downloads and kind is not Kind.JUNK:
                self._agenda.add(self._running(at, device), self._read, mail, device)
        opened, delay, _ = self._opened[kind]
        read_at = self._awake(at + self._dice.log_normal(delay, self.model.delay_spread))
        if self._dice.random() < opened:
            self._agenda.add(read_at, self._open, mail, True)
        elif kind is not Kind.JUNK and self._dice.random() < self.model.deleted_unread:
            self._agenda.add(read_at, self._delete, mail)
        if kind is Kind.JUNK:
            self._agenda.add(at + self.model.expiry_days * DAY, self._expire, mail, JUNK)
        return mail

    def _store(self, at: float, owner: Owner, kind: Kind, folder: str, size: int, client: str) -> Mail:
        name, uid = owner.next_name(self._bucket, folder)
        mail = Mail(owner, kind, size, name, folder, uid, at)
        owner.remember(mail, self.model.remembered)
        self._wrote(at, mail, client)
        return mail

    # ------------------------------------------------------------ people

    def _open(self, at: float, mail: Mail, first: bool) -> None:
        if not mail.alive:
            return
        device = self._device(at, mail.owner)
        self._read_on(at, mail, device)
        if first:
            self._react(at, mail, device)
        model, dice = self.model, self._dice
        if dice.random() < self._opened[mail.kind][2]:
            again = at + dice.log_normal(model.again_delay, model.again_spread)
            self._agenda.add(self._awake(again), self._open, mail, False)
            return
        over = at + dice.log_normal(model.delete_delay, model.delete_spread)
        drawn = dice.random()
        if drawn < model.deleted_read:
            self._agenda.add(over, self._delete, mail)
        elif drawn < model.deleted_read + model.archived:
            self._agenda.add(over, self._file, mail)

    def _react(self, at: float, mail: Mail, device: Device) -> None:
        """The first opening leads to the mail before, and to an answer."""
        model, dice = self.model, self._dice
        earlier, mail.earlier = mail.earlier, None
        if earlier is not None and dice.random() < model.thread_read and not device.downloads:
            self._agenda.add(at + dice.exponential(20.0), self._read, earlier, device)
        if mail.kind is Kind.PERSONAL and dice.random() < model.replied:
            delay = mail.written_at + dice.log_normal(model.reply_delay, model.reply_spread)
            self._agenda.add(self._awake(max(at + 30.0, delay)), self._reply, mail)

    def _reply(self, at: float, mail: Mail, _: None) -> None:
        if not mail.alive:
            return
        device = self._device(at, mail.owner)
        self._read_on(at, mail, device)
        sent = self._store(at, mail.owner, Kind.SENT, SENT, self._size(attached=False), device.client)
        for other in mail.owner.devices:
            if other is not device and other.downloads:
                self._agenda.add(self._running(at, other), self._read, sent, other)

    def _search(self, at: float, owner: Owner, _: None) -> None:
        device = self._device(at, owner)
        if device.downloads or not owner.mails:
            return
        for _turn in range(self._dice.geometric(self.model.search_reads)):
            mail = owner.mails[-1 - self._dice.rank(len(owner.mails))]
            at += self._dice.exponential(30.0)
            self._agenda.add(at, self._read, mail, device)

    def _device(self, at: float, owner: Owner) -> Device:
        """At the desk mostly the first one, away from it the second, if there is one."""
        if len(owner.devices) == 1:
            return owner.devices[0]
        return owner.devices[0 if self._dice.random() < (0.75 if self._at_desk(at) else 0.1) else 1]

    def _at_desk(self, at: float) -> bool:
        day, second = divmod(at - self.start, DAY)
        begin, end = self.model.desk_hours
        return (self._weekday + int(day)) % 7 < self.model.desk_days and begin * 3600 <= second < end * 3600

    def _running(self, at: float, device: Device) -> float:
        """When ``device`` has downloaded what came at ``at``: when it runs next; what has waited comes in order."""
        delay = self._dice.exponential(self.model.download_delay)
        if not device.desktop or self._at_desk(at):
            return at + delay
        day, second = divmod(at - self.start, DAY)
        begin, end = (hour * 3600 for hour in self.model.desk_hours)
        day += second >= end
        while (self._weekday + int(day)) % 7 >= self.model.desk_days:
            day += 1
        morning = self.start + day * DAY + begin
        # A mail that came later is downloaded later, up to seven minutes; the week is cut where no client is off.
        return max(at, morning + ((at - self.start) / DAY + self._weekday - 2.5) % 7 * 60)

    def _awake(self, at: float) -> float:
        """``at``, or the morning after it if people sleep then."""
        second = (at - self.start) % DAY
        return at if second >= MORNING else at - second + MORNING + self._dice.exponential(2400.0)

    # ------------------------------------------------------------ mail goes

    def _delete(self, at: float, mail: Mail, _: None) -> None:
        if not mail.alive:
            return
        if mail.folder != TRASH and self._dice.random() < self.model.trashed:
            self._move(at, mail, TRASH)
            self._agenda.add(at + self.model.expiry_days * DAY, self._expire, mail, TRASH)
        else:
            self._remove(at, mail)

    def _file(self, at: float, mail: Mail, _: None) -> None:
        if mail.alive and mail.folder != TRASH:
            self._move(at, mail, ARCHIVE)

    def _expire(self, at: float, mail: Mail, folder: str) -> None:
        if mail.alive and mail.folder == folder:
            self._remove(at, mail)

    def _move(self, at: float, mail: Mail, folder: str) -> None:
        """IMAP's MOVE on an object store: a copy under another key, then the delete (RFC 6851)."""
        before = self._event(at, EventKind.DELETE, mail, self._device(at, mail.owner).client)
        mail.name, mail.uid = mail.owner.next_name(self._bucket, folder)
        mail.folder, mail.written_at = folder, at
        self._wrote(at, mail, before.client)
        self._out.append(before)

    def _remove(self, at: float, mail: Mail) -> None:
        self._out.append(self._event(at, EventKind.DELETE, mail, DELIVERY))
        mail.owner.lost(mail)

    # ------------------------------------------------------------ machines

    def _back_up(self, at: float, whole: bool, _: None) -> None:
        since, self._last_backup = self.start if whole else self._last_backup, at
        those = (mail for owner in self._owners for mail in sorted(owner.mails, key=_key) if mail.written_at >= since)
        self._agenda.add(at, self._walk, (those, "backup@10.0.0.2", Reason.BACKUP), self.model.backup_gap)

    def _index(self, at: float, owner: Owner, _: None) -> None:
        those = iter(sorted(owner.mails, key=_key))
        self._agenda.add(at, self._walk, (those, "index@10.0.0.3", Reason.INDEX), self.model.index_gap)

    def _scan(self, at: float, owner: Owner, _: None) -> None:
        those = iter(sorted((mail for mail in owner.mails if mail.written_at >= at - 7 * DAY), key=_key))
        self._agenda.add(at, self._walk, (those, "virus-scan@10.0.0.4", Reason.SCAN), self.model.scan_gap)

    def _resync(self, at: float, owner: Owner, _: None) -> None:
        """By UID, as IMAP clients ask: u.9 comes before u.10, which object stores list the other way round."""
        oldest = at - self.model.resync_days * DAY
        chosen = [mail for mail in owner.mails if mail.written_at >= oldest]
        those = iter(sorted(chosen, key=lambda mail: (mail.folder, mail.uid)))
        client = owner.devices[0].client + ":new"
        self._agenda.add(at, self._walk, (those, client, Reason.PERSON), self.model.resync_gap)

    def _walk(self, at: float, walk: Walk, gap: float) -> None:
        """The next mail of a walk that is still there."""
        those, client, reason = walk
        mail = next((one for one in those if one.alive), None)
        if mail is not None:
            self._out.append(self._event(at, EventKind.READ, mail, client, reason))
            self._agenda.add(at + gap, self._walk, walk, gap)

    # ------------------------------------------------------------ events

    def _read(self, at: float, mail: Mail, device: Device) -> None:
        if mail.alive:
            self._out.append(self._event(at, EventKind.READ, mail, device.client, Reason.PERSON))

    def _read_on(self, at: float, mail: Mail, device: Device) -> None:
        """An opening; a device with a copy of its own asks nobody."""
        if not device.downloads:
            self._out.append(self._event(at, EventKind.READ, mail, device.client, Reason.PERSON))

    def _wrote(self, at: float, mail: Mail, client: str) -> None:
        self._out.append(self._event(at, EventKind.WRITE, mail, client))

    def _event(self, at: float, kind: EventKind, mail: Mail, client: str, reason: str = "") -> Event:
        sent = mail.size if kind is EventKind.READ else 0
        outcome = Ack.BOTH.value if kind is EventKind.WRITE else ""
        folder = CLASSES.get(mail.folder, "other")
        return Event(at, kind, mail.name, mail.owner.name, folder, mail.size, sent, outcome, reason, client)


def _key(mail: Mail) -> str:
    return mail.name.key

"""From letters to objects: pack, place, put, check; several at once, the same result every time.

One task reads the source, in its order, and decides each mail's UID; workers send. A mail whose very content is in the
target folder already is left as it is, so that a run that was interrupted goes on where it was, and one that was not
changes nothing. What fails for one mail is reported and the others go on; only when the node cannot be reached for
several mails in a row it makes no sense to go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeVar

from tierproxy.errors import AltError, PreconditionFailed, RequestError, TierproxyError
from tierproxy.importing.letters import Bad, BadMail, Folder, Letter, Letters
from tierproxy.importing.parcels import Parcel
from tierproxy.importing.places import Place, Places
from tierproxy.importing.uids import Uids
from tierproxy.model import Listed
from tierproxy.ports import Clock, Offload

TRIES = (1.0, 2.0, 4.0)  #: seconds before each further try of one mail
FAILURES = 5  #: mails in a row that failed because nobody answers
COLLISIONS = 50  #: UIDs that somebody else took first, of one mail
T = TypeVar("T")


class Verify(StrEnum):
    """How an object is checked after it was put: not at all, by its ETag and size, by its bytes."""

    NONE = "none"
    HEAD = "head"
    BYTES = "bytes"


class Done(NamedTuple):
    """What a letter became."""

    uid: int
    etag: str


class Stored(Protocol):
    """What the node says of an object."""

    @property
    def etag(self) -> str: ...

    @property
    def size(self) -> int: ...


class Objects(Protocol):
    """The bucket imported into, one connection of several. Blocking. Each raises AltError (try again) or
    RequestError."""

    def listed(self, directory: str) -> Iterable[Listed]: ...

    def put(self, key: str, parcel: Parcel) -> Stored:
        """Only if there is none: raises PreconditionFailed. The parcel's MD5 goes with it."""
        ...

    def look(self, key: str) -> Stored:
        """HEAD. Raises NoSuchKey."""
        ...

    def read_again(self, key: str) -> Stored:
        """GET: the size and MD5 of the bytes that came. Raises NoSuchKey."""
        ...


class Journal(Protocol):
    """What was done, kept by the command. loop."""

    def known(self, letter: Letter, directory: str) -> Done | None:
        """What a letter became that was imported before, below this directory."""
        ...

    def done(self, letter: Letter, directory: str, uid: int, parcel: Parcel) -> None: ...

    def flagged(self, folder: Folder, uid: int, letter: Letter) -> None: ...


class Watch(Protocol):
    """Is told how far it is. loop."""

    def begun(self, total: int) -> None:
        """Bytes of the source."""
        ...

    def moved(self, mails: int, size: int) -> None: ...

    def bad(self, bad: Bad) -> None: ...


@dataclass(slots=True)
class Report:
    """``imported`` mails with ``bytes`` (as objects); ``there``: the very same were there before; ``gone``: were
    imported before, and somebody has removed them since; ``renumbered``: those of the imported that have another UID
    than the source gave them; ``flagged``: those with flags or keywords, which an object cannot hold; ``failed``: left
    out, each told. ``stopped``: why it ended before the end."""

    folders: int = 0
    imported: int = 0
    bytes: int = 0
    there: int = 0
    gone: int = 0
    renumbered: int = 0
    flagged: int = 0
    failed: int = 0
    verified: int = 0
    unreachable: bool = False
    interrupted: bool = False
    stopped: str = ""
    failures: list[Bad] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Sending:
    """A letter on its way to a UID."""

    folder: Folder
    letter: Letter
    parcel: Parcel
    place: Place
    uids: Uids
    uid: int


@dataclass(slots=True)
class Transfer:
    """One run. All of its state belongs to the loop; reading and requests are made in threads."""

    places: Places
    threads: Offload
    clock: Clock
    journal: Journal
    watch: Watch
    verify: Verify = Verify.HEAD
    dry_run: bool = False
    report: Report = field(default_factory=Report)
    _folders: dict[str, Uids] = field(default_factory=dict)
    _failures: int = 0
    _broken: Exception | None = None

    async def run(self, source: Iterable[Folder | Bad], lister: Objects, senders: Iterable[Objects]) -> Report:
        """To the end, or until nobody answers. An interruption ends it after the mails under way."""
        senders = list(senders)
        queue: asyncio.Queue[_Sending | None] = asyncio.Queue(len(senders) * 2)
        workers = [asyncio.create_task(self._send_all(queue, one)) for one in senders]
        try:
            await self._read_all(source, lister, queue)
        except asyncio.CancelledError:
            self.report.interrupted = True
            self._stop("interrupted")
        finally:
            await _ended(queue, workers)
        if self._broken is not None:
            raise self._broken
        return self.report

    # ------------------------------------------------------------ reading

    async def _read_all(
        self, source: Iterable[Folder | Bad], lister: Objects, queue: asyncio.Queue[_Sending | None]
    ) -> None:
        found: list[Folder | Bad] = await self.threads.run(list, source)
        self.watch.begun(sum(one.size for one in found if isinstance(one, Folder)))
        for one in found:
            if self.report.stopped:
                return
            if isinstance(one, Bad):
                self._bad(one)
            else:
                await self._read_folder(one, lister, queue)

    async def _read_folder(self, folder: Folder, lister: Objects, queue: asyncio.Queue[_Sending | None]) -> None:
        try:
            place = self.places.of(folder.name)
            uids = await self._uids(place, lister)
        except TierproxyError as error:
            self._failed(Bad(folder.origin, str(error)), error)
            return
        self.report.folders += 1
        uids.reserve(folder.highest_uid)
        letters = folder.letters()
        try:
            while not self.report.stopped and (one := await self._next(letters)) is not None:
                if isinstance(one, Bad):
                    self._bad(one)
                elif sending := await self._decided(folder, one, place, uids):
                    await queue.put(sending)
        finally:
            letters.close()

    async def _next(self, letters: Letters) -> Letter | Bad | None:
        return await _to_its_end(self.threads.run(lambda: next(letters, None)))

    async def _uids(self, place: Place, lister: Objects) -> Uids:
        """What is in the target folder: asked once."""
        if place.directory not in self._folders:
            objects = await self._patiently(lambda: list(lister.listed(place.directory)))
            self._folders[place.directory] = Uids.of(place.directory, objects, place.next_uid)
        return self._folders[place.directory]

    async def _decided(self, folder: Folder, letter: Letter, place: Place, uids: Uids) -> _Sending | None:
        """What is to be sent; None: nothing is, because it is there, or cannot be."""
        before = self.journal.known(letter, place.directory)
        if before is not None:
            if uids.holds(*before):
                self._there(folder, letter, before.uid)
            else:  # expunged or moved since: a mail that was deleted does not come back
                self.report.gone += 1
                self.watch.moved(1, letter.size)
            return None
        try:
            parcel = await self.threads.run(letter.pack)
            uid = uids.where(parcel.md5, parcel.size)
            if uid:
                self.journal.done(letter, place.directory, uid, parcel)
                self._there(folder, letter, uid)
                return None
            return _Sending(folder, letter, parcel, place, uids, uids.choose(letter.uid, parcel.md5, parcel.size))
        except BadMail as error:
            self._bad(Bad(letter.origin, str(error)))
            self.watch.moved(0, letter.size)
            return None

    # ------------------------------------------------------------ sending

    async def _send_all(self, queue: asyncio.Queue[_Sending | None], objects: Objects) -> None:
        """One worker: until it is told the end. After a stop it only empties the queue, so that nobody waits."""
        while (sending := await queue.get()) is not None:
            if self.report.stopped:
                continue
            try:
                uid = sending.uid if self.dry_run else await self._send(sending, objects)
            except TierproxyError as error:
                self._failed(Bad(sending.letter.origin, str(error)), error)
                self.watch.moved(0, sending.letter.size)
            except Exception as error:  # noqa: BLE001 -- raised at the end: who fills the queue must not wait for ever
                self._broken = self._broken or error
                self._stop(repr(error))
            else:
                self._imported(sending, uid)

    async def _send(self, sending: _Sending, objects: Objects) -> int:
        """Put and check it. Returns the UID it has, which is another one when somebody was faster."""
        uid, parcel = sending.uid, sending.parcel
        try:
            for _ in range(COLLISIONS):
                if await self._patiently(lambda at=uid: self._put(objects, _key(sending.place, at), parcel)):  # type: ignore[misc]
                    return uid
                sending.uids.lose(uid, parcel.md5, parcel.size)
                uid = sending.uids.choose(0, parcel.md5, parcel.size)
        except BaseException:
            sending.uids.lose(uid, parcel.md5, parcel.size)
            raise
        raise BadMail(f"{COLLISIONS} UIDs in a row were taken by somebody else meanwhile")

    def _put(self, objects: Objects, key: str, parcel: Parcel) -> bool:
        """In a thread. False: another mail has this key. The same mail is one whose answer was lost."""
        try:
            stored: Stored = objects.put(key, parcel)
        except PreconditionFailed:
            stored = objects.look(key)
            if (stored.etag, stored.size) != (parcel.md5, parcel.size):
                return False
        self._check(objects, key, parcel, stored.etag)
        return True

    def _check(self, objects: Objects, key: str, parcel: Parcel, etag: str) -> None:
        """Raises BadMail. In a thread."""
        if etag != parcel.md5:
            raise BadMail(f"{key} was stored with ETag {etag}, not {parcel.md5}: remove it")
        if self.verify is Verify.NONE:
            return
        found = objects.look(key) if self.verify is Verify.HEAD else objects.read_again(key)
        if (found.etag, found.size) != (parcel.md5, parcel.size):
            raise BadMail(f"{key} came back as {found.size} bytes with MD5 {found.etag}: remove it")

    async def _patiently(self, request: Callable[[], T]) -> T:
        """``request`` in a thread, and again after a while when the node cannot answer now."""
        for pause in TRIES:
            try:
                return await _to_its_end(self.threads.run(request))
            except AltError:
                await self.clock.sleep(pause)
        return await _to_its_end(self.threads.run(request))

    # ------------------------------------------------------------ telling

    def _imported(self, sending: _Sending, uid: int) -> None:
        self._failures = 0
        report, letter = self.report, sending.letter
        report.imported += 1
        report.bytes += sending.parcel.size
        report.renumbered += bool(letter.uid and letter.uid != uid)
        report.verified += self.verify is not Verify.NONE and not self.dry_run
        if not self.dry_run:
            self.journal.done(letter, sending.place.directory, uid, sending.parcel)
        self._told(sending.folder, letter, uid)

    def _there(self, folder: Folder, letter: Letter, uid: int) -> None:
        self.report.there += 1
        self._told(folder, letter, uid)

    def _told(self, folder: Folder, letter: Letter, uid: int) -> None:
        if letter.flags or letter.keywords:
            self.report.flagged += 1
            self.journal.flagged(folder, uid, letter)
        self.watch.moved(1, letter.size)

    def _bad(self, bad: Bad) -> None:
        """Left out, and told."""
        self.report.failed += 1
        self.report.failures.append(bad)
        self.watch.bad(bad)

    def _failed(self, bad: Bad, error: TierproxyError) -> None:
        self._bad(bad)
        if isinstance(error, AltError):
            self.report.unreachable = True
            self._failures += 1
            if self._failures >= FAILURES:
                self._stop(f"{FAILURES} mails in a row could not be stored, the last with: {error}")
        elif not isinstance(error, RequestError | BadMail):
            self._stop(str(error))

    def _stop(self, why: str) -> None:
        self.report.stopped = self.report.stopped or why


def _key(place: Place, uid: int) -> str:
    return f"{place.directory}u.{uid}"


async def _to_its_end(answer: Awaitable[T]) -> T:
    """A thread cannot be stopped: who is interrupted waits until it has ended, so that nobody else uses its connection
    or its generator meanwhile."""
    future = asyncio.ensure_future(answer)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


async def _ended(queue: asyncio.Queue[_Sending | None], workers: list[asyncio.Task[None]]) -> None:
    """Every worker takes one end and goes. What was queued is sent first, unless it was stopped."""
    for _ in workers:
        await queue.put(None)
    await asyncio.gather(*workers)

"""What is remembered of directories, and when it may be believed.

A directory that was listed is remembered whole, so that "not there" is an answer as good as any. It is believed
while the client hears of changes (``NodeClient.fresh``). A change that was heard of never asserts anything here: it
makes a name unknown unless it says what is remembered already, and the next who wants the name asks the node. Feed
and answers come on different connections, in no order, and a mail that was deleted and made again must not vanish
because the first is told late. Own changes are applied when they are answered; a telling that overtook the answer is
held against it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Final

from tierproxy.mount.counters import Counters
from tierproxy.mount.flights import Flights
from tierproxy.mount.names import parted
from tierproxy.mount.ports import File, NodeClient, NotThere, Told
from tierproxy.ports import Clock


@dataclass(frozen=True, slots=True)
class Folder:
    """A name that is a directory."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A name of which only the node can tell."""


FOLDER: Final = Folder()
UNKNOWN: Final = Unknown()
Entry = File | Folder
FEW = 16  #: unknown names of a directory are asked after one by one; more, and it is listed again
BELOW = "below"  #: told during a change of a directory: something came to be in it


@dataclass
class Listing:
    """A directory. What is in none of the three is not there."""

    files: dict[str, File] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    marked: bool = False

    @property
    def names(self) -> int:
        """How many."""
        return len(self.files) + len(self.directories)

    def get(self, name: str) -> Entry | Unknown | None:
        if name in self.unknown:
            return UNKNOWN
        return self.files.get(name) or (FOLDER if name in self.directories else None)

    def set(self, name: str, entry: Entry | Unknown | None) -> None:
        if isinstance(entry, Unknown):
            self.unknown.add(name)
            return
        self.unknown.discard(name)
        self.files.pop(name, None)
        self.directories.discard(name)
        if isinstance(entry, File):
            self.files[name] = entry
        elif entry is not None:
            self.directories.add(name)


class Changing:
    """A change of ``key`` by this mount, or a question about it, that is under way; what was told of it meanwhile."""

    def __init__(self, tree: Tree, key: str, *, own: bool) -> None:
        self.key = key
        self.own = own
        self.told: list[str] = []
        self._tree = tree

    def wrote(self, file: File) -> None:
        self._settled(file, file.etag)

    def gone(self) -> None:
        self._settled(None, "")

    def answered(self, entry: Entry | None) -> None:
        """What the node said when it was asked; of no worth if anything was told since."""
        self._tree.apply(self.key, UNKNOWN if self.told else entry)

    def made(self, *, new: bool) -> None:
        """A marker is there. ``new``: the name was not there before, so that nothing can be in the directory."""
        self._tree.set(self.key, UNKNOWN if "" in self.told else FOLDER)
        if new and BELOW not in self.told:
            self._tree.keep(self.key, Listing(marked=True))

    def _settled(self, entry: Entry | None, etag: str) -> None:
        """A last telling that is not of this change is of one that came later, or earlier: the node knows."""
        overtaken = bool(self.told) and self.told[-1] != etag
        self._tree.set(self.key, UNKNOWN if overtaken else entry)
        if overtaken:
            self._tree.doubted(self.key)


class Tree:
    """Keys as in ``NodeClient``. ``limit``: names to remember. ``doubted``: hears of names that a change of this
    mount has left unknown. Times of directories are of changes seen here, else of
    the start: a maildir's reader looks again if it must doubt, never too seldom."""

    def __init__(
        self, client: NodeClient, clock: Clock, counters: Counters, flights: Flights, limit: int,
        doubted: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._client = client
        self._clock = clock
        self._counters = counters
        self._flights = flights
        self._limit = limit
        self.doubted = doubted
        self._listings: OrderedDict[str, Listing] = OrderedDict()
        self._size = 0
        self._epoch = 0
        self._during: dict[str, dict[str, Entry | Unknown | None]] = {}
        self._changing: dict[str, list[Changing]] = {}
        self._started = clock.now()
        self._modified: dict[str, float] = {}

    # ------------------------------------------------------------ asking

    async def find(self, directory: str, name: str, *, folder: bool = False) -> Entry:
        """``folder``: it was a directory when last seen. Raises NotThere, Doubt, NotAllowed.

        A directory that is not remembered is listed, whole: one request per some thousand names, once, after which
        every answer about it is free. While changes are not heard of each name costs a HEAD, a missing one a listing
        more.
        """
        if not self._client.fresh:
            return await self._ask(directory, name, folder)
        listing = self._known(directory) or await self._load(directory)
        entry = listing.get(name)
        if isinstance(entry, Unknown):
            return await self._ask(directory, name, folder or name in listing.directories)
        self._counters.remembered += 1
        if entry is None:
            raise NotThere(directory + name)
        return entry

    async def listing(self, directory: str) -> Listing:
        """All of a directory, nothing unknown. Raises Doubt, NotAllowed."""
        listing = self._known(directory) if self._client.fresh else None
        if listing is None or len(listing.unknown) > FEW:
            self.drop(directory)
            return await self._load(directory)
        return await self._resolved(directory, listing) if listing.unknown else listing

    async def _resolved(self, directory: str, listing: Listing) -> Listing:
        """``listing`` with what the node says of each unknown name. A telling meanwhile leaves it unknown for the
        next."""
        resolved = Listing(dict(listing.files), set(listing.directories), set(), listing.marked)
        for name in sorted(listing.unknown):
            try:
                resolved.set(name, await self.find(directory, name))
            except NotThere:
                resolved.set(name, None)
        return resolved

    def peek(self, directory: str) -> Listing | None:
        """What may be believed of it without asking."""
        return self._known(directory) if self._client.fresh else None

    def lacks(self, directory: str, name: str) -> bool:
        """Whether it may be believed that this name is not there."""
        listing = self.peek(directory)
        return listing is not None and listing.get(name) is None and directory + name not in self._changing

    def modified(self, directory: str) -> float:
        return self._modified.get(directory, self._started)

    async def _ask(self, directory: str, name: str, folder: bool) -> Entry:
        self._counters.asked += 1
        key = directory + name
        with self._under_way(key, own=False) as asking:
            entry = await self._entry(key, folder)
            asking.answered(entry)
        if entry is None:
            raise NotThere(key)
        return entry

    async def _entry(self, key: str, folder: bool) -> Entry | None:
        for marker in (True, False) if folder else (False,):
            try:
                found = await self._client.look(key + "/" * marker)
            except NotThere:
                continue
            return FOLDER if marker else found
        below = await self._client.children(key + "/")
        return FOLDER if below.marked or below.files or below.directories else None

    async def _load(self, directory: str) -> Listing:
        return await self._flights.join(("children", directory), lambda: self._fetch(directory))

    async def _fetch(self, directory: str) -> Listing:
        self._counters.loads += 1
        epoch = self._epoch
        during = self._during[directory] = {}
        try:
            children = await self._client.children(directory)
        finally:
            del self._during[directory]
        files = {parted(file.key)[1]: file for file in children.files}
        listing = Listing(files, set(children.directories) - files.keys(), set(), children.marked)
        for name, entry in during.items():
            listing.set(name, entry)
        if self._client.fresh and epoch == self._epoch:
            self.keep(directory, listing)
        return listing

    # ------------------------------------------------------------ remembering

    def _known(self, directory: str) -> Listing | None:
        listing = self._listings.get(directory)
        if listing is not None:
            self._listings.move_to_end(directory)
        return listing

    def keep(self, directory: str, listing: Listing) -> None:
        """Remember ``listing``; those not used for longest make room for it."""
        if not self._client.fresh:
            return
        self.drop(directory)
        self._listings[directory] = listing
        self._size += listing.names + 1
        while self._size > self._limit and len(self._listings) > 1:
            self.drop(next(iter(self._listings)))

    def drop(self, directory: str) -> None:
        listing = self._listings.pop(directory, None)
        if listing is not None:
            self._size -= listing.names + 1

    def drop_below(self, directory: str) -> None:
        for known in [known for known in self._listings if known.startswith(directory)]:
            self.drop(known)

    def believes(self, file: File) -> bool:
        """Whether this is what may be taken for the truth about its name, until something else is heard."""
        directory, name = parted(file.key)
        listing = self._listings.get(directory)
        return listing is not None and listing.get(name) == file

    def set(self, key: str, entry: Entry | Unknown | None) -> None:
        """A change: ``entry`` is what is at ``key`` now (None: nothing), as far as anybody can tell."""
        self._modified[parted(key)[0]] = self._clock.now()
        self.apply(key, entry)

    def apply(self, key: str, entry: Entry | Unknown | None) -> None:
        """Remember ``entry``, which need not be a change."""
        directory, name = parted(key)
        if directory in self._during:
            self._during[directory][name] = entry
        listing = self._listings.get(directory)
        if listing is not None:
            self._size -= listing.names
            listing.set(name, entry)
            self._size += listing.names

    def touch(self, directory: str, modified: float) -> None:
        self._modified[directory] = modified

    def changing(self, key: str) -> AbstractContextManager[Changing]:
        """Around a change of ``key`` by this mount. What fails inside leaves the name unknown."""
        return self._under_way(key, own=True)

    @contextmanager
    def _under_way(self, key: str, *, own: bool) -> Iterator[Changing]:
        change = Changing(self, key, own=own)
        self._changing.setdefault(key, []).append(change)
        try:
            yield change
        except BaseException:
            self.apply(key, UNKNOWN)
            if own:
                self.doubted(key)
            raise
        finally:
            self._changing[key].remove(change)
            if not self._changing[key]:
                del self._changing[key]

    # ------------------------------------------------------------ hearing

    def hear(self, told: Told) -> bool:
        """Take in a change. True if it is news: then nodes of this name, and the kernel, must forget it too."""
        if self._note(told):
            self._doubt(told)
            return False
        if self._agrees(told):
            return False
        self._doubt(told)
        self._modified[parted(told.key)[0]] = self._clock.now()
        return True

    def _note(self, told: Told) -> bool:
        """Hold it against what is under way. True: its name is being changed by this mount at this moment."""
        for key, changes in self._changing.items():
            if told.etag and key.endswith("/") and told.key.startswith(key) and told.key != key:
                for change in changes:
                    change.told.append(BELOW)
        changes = self._changing.get(told.key, [])
        for change in changes:
            change.told.append(told.etag)
        return any(change.own for change in changes)

    def _agrees(self, told: Told) -> bool:
        directory, name = parted(told.key)
        listing = self._listings.get(directory)
        if directory in self._during or listing is None or name in listing.unknown:
            return False
        if told.key.endswith("/"):
            return (name in listing.directories) == bool(told.etag)
        file = listing.files.get(name)
        return (file.etag if file is not None else "") == told.etag

    def _doubt(self, told: Told) -> None:
        """The name is unknown, and so is each directory above that may have come or gone with it."""
        key = told.key
        while key:
            directory, name = parted(key)
            listing = self._listings.get(directory)
            below = self._listings.get(key) if key.endswith("/") else None
            stays = bool(told.etag) or (below is not None and below.marked)
            if key != told.key and listing is not None:
                if stays and name in listing.directories:
                    return
                if not told.etag and listing.get(name) is None:
                    return  # it was not there, and still is not
            if key == told.key and below is not None:
                self.drop(key)
            if directory in self._during:
                self._during[directory][name] = UNKNOWN
            if listing is not None:
                listing.set(name, UNKNOWN)
            key = directory

    def forget(self) -> None:
        """Everything may have changed."""
        self._epoch += 1
        self._listings.clear()
        self._size = 0
        now = self._clock.now()
        self._started = now
        self._modified.clear()

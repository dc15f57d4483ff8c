"""Renames of objects: each is a copy and a delete, with an intent on disk from before the first until after the last.

What an intent says is carried out once it is written, unless its very first request says no. One whose outcome is
not known is unfinished: nobody is told of a name it concerns before it is finished, so that a mail never has two
names. A single object goes on to its new name. A directory goes back: its caller was told that it failed, and Dovecot,
which renames the index after the mails, has it under the old name: mails under the new one would have no flags.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import contextmanager, suppress

from tierproxy.errors import DiskError, TierproxyError
from tierproxy.fuse.operations import Kernel
from tierproxy.logs import event
from tierproxy.mount.counters import Counters
from tierproxy.mount.flights import Flights
from tierproxy.mount.intents import Intent, IntentJournal, Step, withdrawal
from tierproxy.mount.names import parted
from tierproxy.mount.nodes import Nodes
from tierproxy.mount.ports import Doubt, File, InTheWay, NodeClient, NotThere
from tierproxy.mount.tree import FOLDER, UNKNOWN, Tree

log = logging.getLogger(__name__)
AT_ONCE = 8  #: objects of one directory that are moved at the same time


class Carrier:
    """Does what an intent says, and remembers what came of it. Doing it again is fine."""

    def __init__(self, client: NodeClient, tree: Tree) -> None:
        self._client = client
        self._tree = tree

    async def prepare(self, intent: Intent) -> None:
        """Make the directories. No mail is concerned yet, so the intent can still be dropped."""
        for step in intent.steps:
            if step.source.endswith("/"):
                await self._client.mark(step.target, step.modified)

    async def carry_out(self, intent: Intent, *, again: bool) -> None:
        """``again``: some or all of it may have happened. Raises what the node says: then, ``again`` or with more
        than one step, some of it may have happened."""
        if intent.withdrawal:
            await self._taken_back(intent.steps[0])
            return
        marks = [step for step in intent.steps if step.source.endswith("/")]
        if again:
            await self.prepare(intent)
        todo = iter([step for step in intent.steps if not step.source.endswith("/")])
        await all_of([self._objects(todo, intent, again) for _ in range(min(AT_ONCE, len(intent.steps)))])
        for step in reversed(marks):
            await self._client.delete(step.source)
        if intent.source.endswith("/"):
            self._tree.drop_below(intent.source)
            self._tree.drop_below(intent.target)
            self._tree.set(intent.source, None)
            self._tree.set(intent.target, FOLDER)

    async def _objects(self, todo: Iterable[Step], intent: Intent, again: bool) -> None:
        for step in todo:
            file = File(step.source, step.size, step.etag, step.modified, step.changed)
            if await self._copied(file, step.target, create=intent.create, again=again):
                await self._removed(file)

    async def _copied(self, source: File, target: str, *, create: bool, again: bool) -> bool:
        """Whether the source is to go: it is at the target. Otherwise there is nothing left to do."""
        with self._tree.changing(target) as change:
            try:
                change.wrote(await self._client.copy(source, target, create=create))
            except (InTheWay, NotThere) as error:
                there = await self._there(target)
                if there is None or there.etag != source.etag:
                    if again:
                        return False  # it went on without us: the source is gone or another one
                    raise
                change.wrote(there)
                return isinstance(error, InTheWay)
        return True

    async def _removed(self, source: File) -> None:
        """Another content there is a new mail, of somebody else's."""
        with suppress(InTheWay), self._tree.changing(source.key) as change:
            await self._client.delete(source.key, match=source.etag)
            change.gone()

    async def _taken_back(self, step: Step) -> None:
        await self._client.withdraw(step.source, etag=step.etag, change=step.change)
        self._tree.apply(step.source, UNKNOWN)  # it is not there, but something else may be

    async def _there(self, key: str) -> File | None:
        try:
            return await self._client.look(key)
        except NotThere:
            return None


async def all_of(works: Iterable[Awaitable[None]]) -> None:
    """Run them all to their ends, then raise the first failure."""
    answers = await asyncio.gather(*works, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer


class Unfinished:
    """Intents from when they are written until they are carried out."""

    def __init__(
        self, carrier: Carrier, journal: IntentJournal, nodes: Nodes, kernel: Kernel, counters: Counters,
        flights: Flights, deadline: float,
    ) -> None:  # fmt: skip
        """``deadline``: seconds that others wait for a directory that is on its way to its new name."""
        self._deadline = deadline
        self._moving: dict[asyncio.Event, Intent] = {}
        self._carrier = carrier
        self._journal = journal
        self._nodes = nodes
        self._kernel = kernel
        self._counters = counters
        self._flights = flights
        self._left: dict[int, Intent] = {}
        self._writing = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._left)

    @property
    def busy(self) -> bool:
        """Something is on its way to another name, or in doubt."""
        return bool(self._left or self._moving)

    async def load(self) -> None:
        """Take over what an earlier process has left, and finish what the node lets us finish."""
        self._left = await self._journal.load()
        await self.finish()

    async def rename(self, intent: Intent) -> None:
        """Carry it out now. Raises InTheWay and the like when nothing has happened, Doubt when it is left to be
        finished, DiskError when it could not be written down. The caller gives nodes their new names in the same turn
        of the loop: others who wait for that go on in a later one."""
        with self._on_its_way(intent):
            await self._rename(intent)

    @contextmanager
    def _on_its_way(self, intent: Intent) -> Iterator[None]:
        """Half of the mails of a directory are not where their nodes say: one that is looked for there would be
        missing, and Dovecot would forget it."""
        if not intent.of_directory:
            yield
            return
        arrived = asyncio.Event()
        self._moving[arrived] = intent
        try:
            yield
        finally:
            del self._moving[arrived]
            arrived.set()

    async def _rename(self, intent: Intent) -> None:
        number = await self._journal.write(intent)
        if intent.of_directory:
            await self._prepared(number, intent)
        try:
            await self._carrier.carry_out(intent, again=False)
        except (TierproxyError, asyncio.CancelledError) as error:
            if isinstance(error, (Doubt, asyncio.CancelledError)) or len(intent.steps) > 1:
                self._left[number] = intent
                event(log, logging.WARNING, "rename left to be finished", source=intent.source, target=intent.target)
                raise Doubt(f"the rename of {intent.source} is not finished") from error
            await self._journal.remove(number)
            raise
        await self._journal.remove(number, durable=intent.of_directory)

    async def _prepared(self, number: int, intent: Intent) -> None:
        """A name that the node or S3 refuses is refused here: no mail has moved, and nothing is left to be finished.
        Empty directories may be left."""
        try:
            await self._carrier.prepare(intent)
        except TierproxyError:
            await self._journal.remove(number)
            raise

    async def withdraw(self, key: str, change: str, etag: Awaitable[str]) -> None:
        """Nobody knows whether ``change`` has created, or will create, ``key`` with ``etag``, and whoever asked for it
        is about to be told that it has not: see to it that this comes true. Nobody is told of ``key`` before."""
        number = self._journal.number()
        self._left[number] = withdrawal(key, "", change)  # in this very moment: others may look already
        async with self._writing:
            intent = self._left[number] = withdrawal(key, await etag, change)
            event(log, logging.WARNING, "change in doubt, to be taken back", key=key)
            try:
                await self._journal.keep(number, intent)
            except DiskError as error:
                event(log, logging.ERROR, "taking back a change will not outlive this process", key=key, error=error)

    async def settle(self, directory: str, name: str = "") -> None:
        """Finish what makes names in ``directory``, or only ``name``, doubtful. Raises Doubt, but not for what
        ``hidden`` takes out of a listing."""
        for arrived, intent in list(self._moving.items()):
            if directory.startswith((intent.source, intent.target)):
                await self._arrival(arrived, intent)
        for number, intent in list(self._left.items()):
            if intent.concerns(directory, name):
                await self._finished(number, intent)
            elif intent.withdrawal and not name and parted(intent.source)[0] == directory:
                with suppress(Doubt):
                    await self._finished(number, intent)

    async def settle_below(self, directory: str) -> None:
        """Take back what is to be taken back below ``directory``, before all of it gets other names. Raises Doubt."""
        for number, intent in list(self._left.items()):
            if intent.withdrawal and intent.source.startswith(directory):
                await self._finished(number, intent)

    def hidden(self, files: dict[str, File]) -> frozenset[str]:
        """loop. Names of what is to be taken back."""
        hiding = [intent for intent in self._left.values() if intent.withdrawal]
        return frozenset(parted(one.source)[1] for one in hiding for file in files.values() if one.hides(file))

    async def _arrival(self, arrived: asyncio.Event, intent: Intent) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                await arrived.wait()
        except TimeoutError:
            raise Doubt(f"{intent.source} is on its way to {intent.target}") from None

    async def finish(self) -> None:
        """Finish what can be finished."""
        for number, intent in list(self._left.items()):
            try:
                await self._finished(number, intent)
            except TierproxyError as error:
                event(log, logging.WARNING, "still not finished", source=intent.source, error=error)

    async def _finished(self, number: int, intent: Intent) -> None:
        await self._flights.join(("intent", number), lambda: self._carry_on(number, intent))

    async def _carry_on(self, number: int, intent: Intent) -> None:
        if intent.withdrawal:
            async with self._writing:  # it is being written down
                intent = self._left.get(number, intent)
        if number not in self._left:
            return
        wanted = intent.undone() if intent.of_directory else intent
        try:
            await self._carrier.carry_out(wanted, again=True)
        except Doubt:
            raise
        except TierproxyError as error:
            raise Doubt(f"what was begun with {intent.source} cannot be finished") from error
        await self._ended(number, intent)
        del self._left[number]
        self._count(wanted)
        self._forget(wanted)

    async def _ended(self, number: int, intent: Intent) -> None:
        """A withdrawal that came back by a power cut would take the same mail away if it was delivered again since."""
        try:
            await self._journal.remove(number, durable=intent.withdrawal)
        except DiskError as error:
            raise Doubt(f"what was begun with {intent.source} may come back") from error

    def _count(self, intent: Intent) -> None:
        if intent.withdrawal:
            self._counters.withdrawn += 1
            event(log, logging.INFO, "change in doubt taken back", key=intent.source)
        else:
            self._counters.finished += 1
            event(log, logging.INFO, "rename finished", source=intent.source, target=intent.target)

    def _forget(self, intent: Intent) -> None:
        """The kernel may have believed in the old name all the time."""
        node = self._nodes.at(intent.source)
        if node is not None and not node.local:
            self._nodes.detach(node)
        for key in (intent.source, intent.target):
            directory, name = parted(key)
            parent = self._nodes.at(directory)
            if parent is not None:
                self._kernel.forget_name(parent.number, name.encode())


def one(source: File, target: str, *, create: bool) -> Intent:
    """The rename of one object."""
    step = Step(source.key, target, source.etag, source.size, source.modified, source.changed)
    return Intent(source.key, target, (step,), create)

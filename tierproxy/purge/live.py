"""The rule files: read when they change, put in force when they are good, kept as versions in the catalogue."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from tierproxy.config.sections import DiskSection, PurgeSection
from tierproxy.errors import ConfigError, TierproxyError
from tierproxy.logs import event
from tierproxy.ports import Alarms, Catalogue, Clock, Offload
from tierproxy.purge.plan import merged
from tierproxy.purges import RulesInForce, Version
from tierproxy.rules.language import parse
from tierproxy.rules.lint import accept
from tierproxy.rules.model import NO_RULES, BucketBudget, RuleSet

ALARM = "rules not usable"
LIVE, SHADOW = "live", "shadow"
AUTHOR = "file"  #: of versions that were found in the file and nobody announced
LARGEST = 4 * 2**20  #: bytes of a rule file; every version is kept in the catalogue
VERSIONS = 100  #: how far to look back for one that can still be read

log = logging.getLogger(__name__)


class Budgeted(Protocol):
    """``tierproxy.store.space.Space``, as far as rules change it."""

    def reload(self, settings: DiskSection, buckets: Sequence[BucketBudget] = ()) -> None: ...


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells that a file has changed."""

    modified: int  #: nanoseconds
    size: int
    inode: int


class RuleFile:
    """One file and what was last seen of it. ``seen`` tells apart: never looked at, gone, this stamp."""

    def __init__(self, path: str, threads: Offload) -> None:
        self.path = path
        self._threads = threads
        self._seen: Stamp | str | None = "never"
        self._before: Stamp | None = None  # at the last look
        self.settled = True  #: what ``changed`` found was there at the look before, or is the first that was looked at

    async def changed(self) -> str | None:
        """The text, if the file is not as it was when it was last taken; None: it is. Raises ConfigError when it
        cannot be read or is not there (each time it becomes so, not at every look)."""
        return await self._threads.run(self._look)

    def take(self) -> None:
        """What ``changed`` found is known from now on."""
        self._seen = self._before

    def forget(self) -> None:
        """Look again, changed or not."""
        self._seen = "never"

    def _look(self) -> str | None:
        path = Path(self.path).expanduser()
        try:
            found = os.stat(path)
            stamp = Stamp(found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp == self._seen:
                return None
            text = _read(path, found)
        except (OSError, UnicodeDecodeError) as error:
            if self._seen is None:
                return None
            self._seen = None
            raise ConfigError(
                f"{self.path}: {error}", hint="put the file back (`tierproxy rules restore`), or set [purge] to another"
            ) from error
        self.settled = self._seen == "never" or stamp == self._before
        self._before = stamp
        return text


def _read(path: Path, found: os.stat_result) -> str:
    """With or without the mark some editors put before UTF-8. Raises OSError."""
    if not stat.S_ISREG(found.st_mode):
        raise OSError("this is no file")  # to open a pipe would wait for whoever writes to it
    if found.st_size > LARGEST:
        raise OSError(f"the file has {found.st_size} bytes; a rule file has at most {LARGEST}")
    return path.read_text("utf-8-sig")


class LiveRules:
    """The rules in force, and the shadow's. ``start`` before anything works by them, then ``run``.

    What is not good changes nothing: the old rules stay in force and an alarm names file, line and fix. ``on_change``
    are told after a swap; the disk's budget is changed in the same step.
    """

    def __init__(
        self, *, catalogue: Catalogue, space: Budgeted, clock: Clock, alarms: Alarms, threads: Offload,
        settings: PurgeSection, disk: DiskSection, keep_days: int,
    ) -> None:  # fmt: skip
        self._catalogue = catalogue
        self._space = space
        self._clock = clock
        self._alarms = alarms
        self._threads = threads
        self._keep_days = keep_days
        self._settings = settings
        self._disk = disk
        self._files: dict[str, RuleFile] = {}
        self._look = asyncio.Lock()
        self._awake = asyncio.Event()
        self._patient = False
        self.in_force = RulesInForce()
        self.shadow: RulesInForce | None = None
        self.on_change: list[Callable[[RulesInForce], None]] = []

    def __repr__(self) -> str:
        return f"<LiveRules version {self.in_force.number}{', with a shadow' if self.shadow else ''}>"

    def current(self) -> RulesInForce:
        """loop. The rules in force."""
        return self.in_force

    def parse(self, text: str) -> RuleSet:
        """The rules of a version's text. Raises ConfigError."""
        return parse(text, file="version", keep_days=self._keep_days)

    async def start(self) -> None:
        """The last rules that were in force, then what the files say. Raises DiskError."""
        if self._settings.rules:
            self._swap(self._last_good(LIVE) or RulesInForce())
        if await self._catalogue.shadow() is None:
            await self._catalogue.end_shadow()  # one whose begin or end was cut off is still in the way
        else:
            self.shadow = self._last_good(SHADOW)
        await self.look()

    async def run(self) -> None:
        """Look at the files every ``[purge] watch``, and when ``reload`` says so, until cancelled. Raises DiskError."""
        while True:
            await self.look(patient=True)
            sleep = asyncio.ensure_future(self._clock.sleep(self._settings.watch))
            wake = asyncio.ensure_future(self._awake.wait())
            try:
                await asyncio.wait({sleep, wake}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleep.cancel()
                wake.cancel()
                await asyncio.gather(sleep, wake, return_exceptions=True)
            self._awake.clear()

    def reload(self, settings: PurgeSection, disk: DiskSection) -> None:
        """loop. A new configuration: its budget counts at once, the files are looked at again, changed or not."""
        self._settings = settings
        self._disk = disk
        self._space.reload(merged(disk, self.in_force.rules.budget), self.in_force.rules.budget.buckets)
        self.hurry()

    def hurry(self) -> None:
        """loop. Look at the files now, changed or not."""
        for file in self._files.values():
            file.forget()
        self._awake.set()

    async def look(self, *, patient: bool = False) -> None:
        """At both files now. ``patient``: one that has changed, and that nobody announced (``rules apply`` does), must
        be the same at two looks: an editor may be in the middle of it, and half a file can be good. Raises
        DiskError."""
        async with self._look:
            self._patient = patient
            await self._look_at_live()
            await self._look_at_shadow()

    # ------------------------------------------------------------ the live file

    async def _look_at_live(self) -> None:
        file = self._file(LIVE, self._settings.rules)
        if file is None:
            if self.in_force.rules is not NO_RULES:
                self._swap(RulesInForce())
            return
        found = await self._found(file, LIVE)
        if found is not None and found != self.in_force:
            self._swap(found)
            event(
                log, logging.INFO, "rules in force", version=found.number, file=file.path, rules=len(found.rules.rules)
            )

    def _swap(self, found: RulesInForce) -> None:
        """loop. In one step: nobody sees half of it."""
        self.in_force = found
        self._space.reload(merged(self._disk, found.rules.budget), found.rules.budget.buckets)
        for tell in self.on_change:
            tell(found)

    # ------------------------------------------------------------ the shadow file

    async def _look_at_shadow(self) -> None:
        file = self._file(SHADOW, self._settings.shadow)
        if file is None:
            await self._end_shadow()
            return
        try:
            found = await self._found(file, SHADOW, gone_is_fine=True)
        except FileNotFoundError:
            await self._end_shadow()
            return
        if found is not None and found != self.shadow:
            await self._catalogue.begin_shadow(self._clock.now())
            self.shadow = found
            event(log, logging.INFO, "shadow rules in force", version=found.number, file=file.path)

    async def _end_shadow(self) -> None:
        if self.shadow is not None:
            self.shadow = None
            await self._catalogue.end_shadow()
            event(log, logging.INFO, "shadow rules ended")

    # ------------------------------------------------------------ files and versions

    def _file(self, kind: str, path: str) -> RuleFile | None:
        """The file of ``kind``; None: the configuration names none (any more)."""
        file = self._files.get(kind)
        if file is not None and file.path != path:
            self._alarms.clear(ALARM, file.path)
            del self._files[kind]
            file = None
        if file is None and path:
            file = self._files[kind] = RuleFile(path, self._threads)
        return file

    async def _found(self, file: RuleFile, kind: str, *, gone_is_fine: bool = False) -> RulesInForce | None:
        """The rules of a file that has changed; None: it has not, or cannot be used (and an alarm says why)."""
        try:
            text = await file.changed()
            if text is None or (self._patient and not file.settled and not self._announced(kind, text)):
                return None
            file.take()
            rules = await self._accepted(text, file.path)
        except ConfigError as error:
            if gone_is_fine and isinstance(error.__cause__, FileNotFoundError):
                self._alarms.clear(ALARM, file.path)
                raise error.__cause__ from None
            self._complain(file.path, error)
            return None
        try:
            number = await self._version(kind, text)
        except TierproxyError:
            file.forget()  # the catalogue fails: nothing is in force that it does not know
            raise
        self._alarms.clear(ALARM, file.path)
        return RulesInForce(number, rules)

    def _complain(self, file: str, error: ConfigError) -> None:
        """An alarm that is raised already logs nothing; whoever corrects the file looks there for what is left."""
        if (ALARM, file) in self._alarms.active():
            event(log, logging.WARNING, "rules still not usable", file=file, error=error, hint=error.hint)
        self._alarms.set(ALARM, file, error=str(error), hint=error.hint)

    async def _accepted(self, text: str, file: str) -> RuleSet:
        """Raises ConfigError when the file may not be put in force; what is only doubtful is logged. A thousand rules
        are compared with each other for seconds: in a thread."""
        told = partial(accept, now=self._clock.now(), file=file, keep_days=self._keep_days, disk=self._disk)
        rules, doubts = await self._threads.run(told, text)
        for doubt in doubts:
            event(log, logging.WARNING, "rules doubtful", file=file, line=doubt.line, about=str(doubt))
        return rules

    def _announced(self, kind: str, text: str) -> bool:
        newest = next(iter(self._catalogue.versions(kind, 1)), None)
        return newest is not None and newest.text == text

    async def _version(self, kind: str, text: str) -> int:
        """The number of ``text``: that of the newest version if it has this text, else a new one's."""
        now = self._clock.now()
        newest = next(iter(self._catalogue.versions(kind, 1)), None)
        if newest is None or newest.text != text:
            newest = await self._catalogue.add_version(Version(0, kind, now, AUTHOR, "", text))
        if newest.live_at is None:
            await self._catalogue.version_live(newest.number, now)
        return newest.number

    def _last_good(self, kind: str) -> RulesInForce | None:
        """The newest version that was in force and that this program can read."""
        for version in self._catalogue.versions(kind, VERSIONS):
            if version.live_at is None:
                continue
            try:
                return RulesInForce(version.number, self.parse(version.text))
            except ConfigError as error:
                event(log, logging.WARNING, "rules version not usable", version=version.number, error=error)
        return None

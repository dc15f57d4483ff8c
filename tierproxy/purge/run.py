"""Carries out purge runs: those of the rules and those an operator asked for. Pressure has its own (``pressure``)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from tierproxy.config.sections import PurgeSection
from tierproxy.errors import ConfigError, StaleGeneration, TierproxyError
from tierproxy.logs import event
from tierproxy.ports import Alarms, Catalogue, Clock, Purgeable
from tierproxy.purge.pace import Pace
from tierproxy.purge.plan import doubtful, everything, purging, ruled
from tierproxy.purge.wall import Wall
from tierproxy.purges import ENDED, Booking, PurgeRun, RulesInForce, RunKind, RunState, Scope, Survey
from tierproxy.rules.model import NO_RULES, RuleSet

PAGE = 500  #: candidates looked at and purged at once
WAITS = "purge waits for a confirmation"
SCHEDULE = "schedule"  #: author of the runs that the schedule asks for

log = logging.getLogger(__name__)


class PurgeRuns:
    """Rule and operator runs, one at a time, in the order of their numbers.

    A run is a row of the catalogue: a crash or a stop leaves it RUNNING, and it is resumed behind its cursor. It works
    by the rules version it started with to its end. After each page its wish to be cancelled is looked at. ``turns`` is
    held for one page at a time, never while a rate limit is waited for, so pressure is never held up by a run.
    """

    def __init__(
        self, *, catalogue: Catalogue, store: Purgeable, clock: Clock, alarms: Alarms, settings: PurgeSection,
        rules: Callable[[], RulesInForce], parse: Callable[[str], RuleSet], turns: asyncio.Lock | None = None,
    ) -> None:  # fmt: skip
        """``parse`` makes rules of the text of a version; raises ConfigError."""
        self._catalogue = catalogue
        self._store = store
        self._clock = clock
        self._alarms = alarms
        self._settings = settings
        self._rules = rules
        self._parse = parse
        self._turns = turns or asyncio.Lock()
        self._wall = Wall(clock)
        self._waiting: set[int] = set()
        self._one = asyncio.Lock()
        self._stopping = False
        self.on_end: Callable[[], Awaitable[None]] = _nothing
        self.running: int | None = None  #: number of the run under way

    def __repr__(self) -> str:
        return f"<PurgeRuns {'idle' if self.running is None else f'at run {self.running}'}>"

    def reload(self, settings: PurgeSection) -> None:
        """loop. Speeds apply within a second."""
        self._settings = settings

    def stop(self) -> None:
        """loop. End after the page that is under way; the run stays RUNNING and is resumed by the next start."""
        self._stopping = True

    async def work(self) -> None:
        """Every run that waits for nobody, one after the other. Raises DiskError."""
        while not self._stopping:
            self._mind_waiting()
            run = self._next()
            if run is None:
                return
            await self.carry_out(run)

    async def scheduled(self) -> PurgeRun | None:
        """The rules' turn by the schedule: a new run, if there is anything to purge; one of the schedule that waits for
        a confirmation is planned anew. Returns it. Raises DiskError."""
        waiting = next((run for run in self._open() if run.author == SCHEDULE and run.state is RunState.WAITING), None)
        if waiting is not None:
            return await self.carry_out(waiting, again=True)
        rules = self._rules()
        if not await self._anything(rules.rules):
            return None
        asked = PurgeRun(0, RunKind.RULES, RunState.ASKED, self._clock.now(), rules=rules.number, author=SCHEDULE)
        return await self.carry_out(await self._catalogue.add_run(asked))

    async def carry_out(self, run: PurgeRun, *, again: bool = False) -> PurgeRun:
        """Start or resume ``run`` and go on until it ends, waits for a confirmation, or ``stop``. ``again``: survey it
        anew under the rules in force. Returns its row. Raises DiskError only if not even the failure can be booked."""
        async with self._one:
            run = self._catalogue.run(run.number) or run
            return run if run.state in ENDED else await self._carry_out(run, again)

    async def _carry_out(self, run: PurgeRun, again: bool) -> PurgeRun:
        self.running = run.number
        try:
            if run.state is RunState.ASKED or again:
                run = await self._begin(run, self._rules())
            elif run.state is RunState.WAITING and run.confirmed:
                self._wall.believe()
                run = await self._save(run, RunState.RUNNING, started_at=self._clock.now())
            elif run.state is RunState.RUNNING:
                done = f"{run.objects} of {run.planned_objects}"
                event(log, logging.INFO, "purge run goes on", run=run.number, objects=done, rules=run.rules)
            if run.state is RunState.RUNNING:
                run = await self._pages(run)
        except StaleGeneration:  # cancelled, or confirmed, by somebody else in the same moment: look again
            return self._catalogue.run(run.number) or run
        except TierproxyError as error:
            event(log, logging.WARNING, "purge run failed", run=run.number, error=error)
            run = await self._failed(run, error)
        finally:
            self.running = None
            self._mind_waiting()
        if run.ended_at is not None:
            await self.on_end()
        return run

    # ------------------------------------------------------------ which

    def _open(self) -> list[PurgeRun]:
        return [run for run in self._catalogue.runs(1000, open_only=True) if run.kind is not RunKind.PRESSURE]

    def _next(self) -> PurgeRun | None:
        """A run that a stop cut off goes first: one at a time."""
        ready = [run for run in self._open() if run.state is not RunState.WAITING or run.confirmed]
        return min(ready, key=lambda run: (run.state is not RunState.RUNNING, run.number), default=None)

    def _mind_waiting(self) -> None:
        """An alarm for every run that waits; it goes when somebody confirms or cancels the run."""
        waiting = {run.number: run for run in self._open() if run.state is RunState.WAITING and not run.confirmed}
        for number in self._waiting - set(waiting):
            self._alarms.clear(WAITS, f"run {number}")
        for number, run in waiting.items():
            self._alarms.set(WAITS, f"run {number}", objects=run.planned_objects, bytes=run.planned_bytes, why=run.note)
        self._waiting = set(waiting)

    async def _anything(self, rules: RuleSet) -> bool:
        purges = any(rule.then is not None and rule.then.purges for rule in rules.rules)
        return purges and bool(await self._catalogue.decided(Scope(rules, self._clock.now()), None, 1))

    # ------------------------------------------------------------ start

    async def _begin(self, run: PurgeRun, rules: RulesInForce) -> PurgeRun:
        """Survey; then RUNNING, or WAITING if too much of it was read recently."""
        run = replace(run, rules=rules.number)
        scope = self._scope(run, rules.rules)
        survey = await self._catalogue.survey(scope)
        counts = [survey.of(index) for index in purging(scope)]
        run = replace(
            run, planned_objects=sum(count.objects for count in counts), planned_bytes=sum(one.bytes for one in counts)
        )
        if run.confirmed:
            self._wall.believe()
        elif doubt := self._wall.leap() or await self._doubt(scope, survey):
            return await self._save(run, RunState.WAITING, note=doubt)
        event(
            log, logging.INFO, "purge run begins", run=run.number, kind=run.kind, rules=run.rules,
            objects=run.planned_objects, bytes=run.planned_bytes,
        )  # fmt: skip
        return await self._save(run, RunState.RUNNING, started_at=self._clock.now(), note="")

    async def _doubt(self, scope: Scope, survey: Survey) -> str:
        """Why the run should ask first; "": it need not."""
        doubt = doubtful(scope, survey, survey.recent_bytes)
        if doubt and scope.confined:
            doubt = doubtful(scope, survey, (await self._catalogue.survey(scope.whole())).recent_bytes)
        return doubt

    def _scope(self, run: PurgeRun, rules: RuleSet) -> Scope:
        """What ``run`` looks at now. Raises ConfigError when its rule is not in its version."""
        if run.kind is RunKind.OPERATOR and not run.rule:
            rules = everything(rules)
        rule = None
        if run.rule:
            rule = next((index for index, one in enumerate(rules.rules) if one.name == run.rule), None)
            if rule is None:
                raise ConfigError(f"there is no rule {run.rule!r} in version {run.rules}")
        return Scope(rules, self._clock.now(), run.bucket, run.prefix, rule)

    # ------------------------------------------------------------ pages

    async def _pages(self, run: PurgeRun) -> PurgeRun:
        rules = self._version(run.rules)
        pace, wall = Pace(self._clock), Wall(self._clock)
        while not self._stopping:
            if run.cancel:
                return await self._ended(run, RunState.CANCELLED, "cancelled")
            if leap := wall.leap():
                return await self._interrupted_by(run, leap)
            async with self._turns:
                scope = self._scope(run, rules)
                page = await self._catalogue.decided(scope, run.cursor, pace.page(self._settings, PAGE))
                if not page:
                    break
                drops = [choice.drop for choice in ruled(scope.rules, page)]
                purged = await self._store.purge(drops, booking=Booking(run.number, page[-1].name))
            run = self._catalogue.run(run.number) or run
            event(
                log, logging.INFO, "purged", run=run.number, objects=purged.objects, bytes=purged.bytes,
                skipped=purged.skipped, of=run.planned_objects,
            )  # fmt: skip
            await pace.wait(self._speeds, purged, lambda number=run.number: self._interrupted(number))  # type: ignore[misc]
            run = self._catalogue.run(run.number) or run
        if self._stopping:
            return run
        return await self._ended(run, RunState.DONE, "")

    def _speeds(self) -> PurgeSection:
        return self._settings

    def _interrupted(self, number: int) -> bool:
        run = self._catalogue.run(number)
        return self._stopping or run is None or run.cancel

    async def _interrupted_by(self, run: PurgeRun, leap: str) -> PurgeRun:
        """What was planned, and confirmed, was what is old by the clock of before."""
        if run.confirmed:
            return await self._ended(run, RunState.FAILED, f"{leap} in the middle; if it is right now, ask again")
        return await self._save(run, RunState.WAITING, note=leap)

    def _version(self, number: int) -> RuleSet:
        """The rules of a version, whatever is in force. Raises ConfigError when this program cannot read them."""
        now = self._rules()
        if number == now.number:
            return now.rules
        version = self._catalogue.version(number)
        return self._parse(version.text) if version is not None else NO_RULES

    # ------------------------------------------------------------ ends

    async def _ended(self, run: PurgeRun, state: RunState, note: str) -> PurgeRun:
        now = self._rules().number
        if now != run.rules:
            changed = f"worked by rules version {run.rules} to its end; version {now} is in force since"
            note = f"{note}; {changed}" if note else changed
        run = await self._save(run, state, ended_at=self._clock.now(), note=note)
        event(
            log, logging.INFO, f"purge run {state}", run=run.number, objects=run.objects, bytes=run.bytes,
            skipped=run.skipped, rules=run.rules, in_force=now,
        )  # fmt: skip
        return run

    async def _failed(self, run: PurgeRun, error: TierproxyError) -> PurgeRun:
        row = self._catalogue.run(run.number) or run
        with contextlib.suppress(StaleGeneration):
            return await self._save(row, RunState.FAILED, ended_at=self._clock.now(), note=str(error))
        return row

    async def _save(self, run: PurgeRun, state: RunState, **changes: object) -> PurgeRun:
        return await self._catalogue.save_run(replace(run, state=state, **changes), expected=run.state)  # type: ignore[arg-type]


async def _nothing() -> None:
    """Nobody wants to know."""

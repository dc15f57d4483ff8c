"""What metrics are read off: the parts of a running node. ``wiring.py`` fills it in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tierproxy.alt.limit import Counted
from tierproxy.config.sections import Config
from tierproxy.history.log import History
from tierproxy.metrics.lag import LoopLag
from tierproxy.metrics.measured import Measured
from tierproxy.ports import Alarms, Catalogue, Clock, Hot, Stubs
from tierproxy.purge.service import PurgeService
from tierproxy.store.counters import Counters
from tierproxy.store.scrub import Scrub
from tierproxy.store.space import Space
from tierproxy.store.upload import UploadQueue


class WorkerPlace(Protocol):
    """What ``tierproxy.server.workers.WorkerState`` says of one place of a hit worker, since the node began."""

    @property
    def place(self) -> int: ...
    @property
    def connections(self) -> int: ...
    @property
    def answers(self) -> int: ...
    @property
    def passed(self) -> int: ...
    @property
    def restarts(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Activity:
    """The object port now: open connections, requests being answered; and answers since the start by status code, those
    of hit workers included."""

    connections: int = 0
    requests: int = 0
    answers: Mapping[int, int] = field(default_factory=dict)
    workers: Sequence[WorkerPlace] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """``version``: of tierproxy. ``config``: what is in force now."""

    config: Callable[[], Config]
    clock: Clock
    version: str
    alarms: Alarms
    catalogue: Catalogue
    alt: Counted
    hot: Hot
    stubs: Stubs
    space: Space
    counters: Counters
    queue: UploadQueue
    purges: PurgeService
    scrub: Scrub
    history: History
    lag: LoopLag
    measured: Measured
    activity: Callable[[], Activity] = Activity

"""What metrics are read off: the parts of a running node. ``wiring.py`` fills it in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tierproxy.alt.limit import Counted
from tierproxy.config.sections import Config
from tierproxy.history.log import History
from tierproxy.metrics.lag import LoopLag
from tierproxy.metrics.measured import Measured
from tierproxy.ports import Alarms, Catalogue, Clock, Condition, Hot, Stubs, WorkerPlace
from tierproxy.purge.service import PurgeService
from tierproxy.store.counters import Counters
from tierproxy.store.health import Side
from tierproxy.store.scrub import Scrub
from tierproxy.store.space import Space
from tierproxy.store.upload import UploadQueue


@dataclass(frozen=True, slots=True)
class Activity:
    """The object port now: open connections, requests being answered; and answers since the start by status code, those
    of hit workers included. ``overload``: what was refused or ended for want of room, since the start."""

    connections: int = 0
    requests: int = 0
    answers: Mapping[int, int] = field(default_factory=dict)
    workers: Sequence[WorkerPlace] = ()
    overload: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """``version``: of tierproxy. ``config``: what is in force now. ``conditions``: of the tiers; ``refused``: requests
    that were not sent to alt because it was down."""

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
    conditions: Callable[[], Sequence[Condition]] = tuple
    refused: Callable[[], Mapping[tuple[str, Side], int]] = dict

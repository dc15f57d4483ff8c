"""The alt tier of a configuration, and what an operator should hear of its buckets. Nothing here imports boto3 before
an alt tier is opened."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from tierproxy.alt.budget import RetryBudget
from tierproxy.alt.limit import Counted, Limited
from tierproxy.alt.mapping import BucketMap, Place
from tierproxy.alt.pace import Pace
from tierproxy.config.sections import Config
from tierproxy.logs import event
from tierproxy.offload import ThreadPool
from tierproxy.ports import Alarms, AltTier, Clock

if TYPE_CHECKING:
    from tierproxy.alt.bucket import Finding

log = logging.getLogger(__name__)
PERIOD = 60.0  #: seconds between two looks at buckets that cannot be used


def open_alt(config: Config, clock: Clock) -> AltTier:
    """The configured S3 server, counted and limited. Reads credentials, which may ask the instance's metadata service:
    call it before requests are served. Raises ConfigError."""
    from tierproxy.alt.s3 import S3Alt

    threads, budget = ThreadPool("alt", 8), RetryBudget(config.alt.retry_budget)
    alt = S3Alt(config.alt, BucketMap(config.bucket, config.dynamic_buckets), threads, clock=clock, budget=budget)
    pace = Pace(clock)
    limited = Limited(alt, config.alt.concurrency, patience=config.alt.retry_timeout, pace=pace)
    return OwnThreads(limited, threads, clock, budget, pace)


class OwnThreads(Counted):
    """The outermost alt tier: what it counts is what the store asked for. Ends its threads with itself."""

    def __init__(self, alt: AltTier, threads: ThreadPool, clock: Clock, budget: RetryBudget, pace: Pace) -> None:
        super().__init__(alt, clock)
        self._threads = threads
        self.budget = budget
        self.pace = pace

    async def close(self) -> None:
        self.pace.allow(None)
        await super().close()
        await self._threads.close()


def alt_check(config: Config, alarms: Alarms, clock: Clock) -> Callable[[], Awaitable[None]]:
    """Look at alt's buckets beside the first requests: what would lose or freeze mail becomes an alarm. A bucket that
    cannot be used (alt is down, perhaps) is looked at again every minute, until it can."""
    from tierproxy.alt.bucket import Level

    async def check() -> None:
        places = BucketMap(config.bucket, config.dynamic_buckets).places()
        raised: set[tuple[str, str]] = set()
        while True:
            findings = await _look(config, places)
            now = {(f"alt bucket {found.level}", found.bucket) for found in findings if found.level is not Level.INFO}
            for alarm, bucket in raised - now:
                alarms.clear(alarm, bucket)
            for found in findings:
                if found.level is Level.INFO:
                    event(log, logging.INFO, "alt bucket", bucket=found.bucket, about=found.text)
                else:
                    alarms.set(f"alt bucket {found.level}", found.bucket, about=found.text)
            raised = now
            if all(found.level is not Level.ERROR for found in findings):
                return
            await clock.sleep(PERIOD)

    return check


async def _look(config: Config, places: Sequence[Place]) -> list[Finding]:
    from tierproxy.alt.bucket import check_buckets

    threads = ThreadPool("alt-check", 1)
    try:
        return await threads.run(check_buckets, config.alt, places)
    finally:
        await threads.close()

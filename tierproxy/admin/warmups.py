"""Warm-ups as jobs: which objects, and who is told."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tierproxy.admin.jobs import Jobs, Tell
from tierproxy.admin.services import Services
from tierproxy.admin.warming import Wanted, Warming
from tierproxy.desk.runs import known
from tierproxy.desk.wishes import WrongWish
from tierproxy.model import ListRequest, ObjectName
from tierproxy.purges import PurgeRun
from tierproxy.wire.whatif import Job, WarmWish

LINE = "alt"  #: of jobs that read from alt
PAGE = 1000


def warm(services: Services, jobs: Jobs, wish: WarmWish, author: str) -> Job:
    """loop. Raises NoSuchBucket, NoSuchRun, WrongWish, Busy."""
    if bool(wish.target) == (wish.run is not None):
        raise WrongWish("say which target, or which run", "target")
    if wish.run is not None:
        return warm_again(services, jobs, known(services.catalogue, wish.run), author, wish.max_bytes)
    bucket, _, prefix = wish.target.partition("/")
    services.store.bucket(bucket)
    names = _below(services, bucket, prefix)
    return _asked(services, jobs, names, author, f"warm {wish.target}", wish.max_bytes, 0)


def warm_again(services: Services, jobs: Jobs, run: PurgeRun, author: str, max_bytes: int = 0) -> Job:
    """loop. What ``run`` removed. Raises Busy."""
    names = _removed(services, run.number)
    return _asked(services, jobs, names, author, f"undo run {run.number}", max_bytes, run.objects)


def _asked(
    services: Services, jobs: Jobs, names: AsyncIterator[Wanted], author: str, title: str, max_bytes: int, total: int
) -> Job:
    warming = Warming(names, services.store, services.catalogue, services.clock, max_bytes=max_bytes, total=total)

    async def work(tell: Tell) -> dict[str, object]:
        return await warming.run(tell)

    return jobs.ask("warm", author, work, title=title, line=LINE)


async def _below(services: Services, bucket: str, prefix: str) -> AsyncIterator[Wanted]:
    after: str | None = ""
    while after is not None:
        page = await services.store.page(ListRequest(bucket, prefix, after=after, limit=PAGE))
        for one in page.objects:
            yield Wanted(ObjectName(bucket, one.key), one.size)
        after = page.next_after


async def _removed(services: Services, run: int) -> AsyncIterator[Wanted]:
    """Behind the last one: what was brought back meanwhile does not shift the pages."""
    after: ObjectName | None = None
    while True:
        page = await services.desk.ask(lambda catalogue, after=after: catalogue.removed(run, after, PAGE))  # type: ignore[misc]
        for name, size in page:
            yield Wanted(name, size)
        if len(page) < PAGE:
            return
        after = page[-1][0]

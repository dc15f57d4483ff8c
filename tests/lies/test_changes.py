"""Every lie an S3 server can answer a change with, on every way a change meets it: what the client is told is true, and
alt ends up with exactly that.

Each is told twice: of the change alone, and of the HEAD as well that is to find out what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.lies.changes import (
    ALT_ONLY,
    COPY,
    COPY_PURGED,
    DELETE,
    IN_PARTS,
    NEW,
    OVERWRITE,
    OVERWRITE_PURGED,
    QUEUED,
    SHARED,
    Way,
    judged,
    mended,
    tried,
)
from tests.lies.world import LATE, World, content
from tierproxy.testing.lies import DOUBTFUL, Rule

WAYS = (NEW, OVERWRITE, OVERWRITE_PURGED, QUEUED, ALT_ONLY, DELETE, COPY, COPY_PURGED, IN_PARTS, SHARED)
SAID_NO = ("not found", "bare 404", "slow down", "access denied", "expired token", "clock skew", "moved")
"""Alt says in so many words that it has not done it."""
BADLY_SAID = ("no etag", "wrong etag", "cut", "late", "reset in the head", "reset in the body", "HTTP/1.0", "overrun")
"""It has been done, and the answer is not what it should be."""
AROUND = (ALT_ONLY, COPY, COPY_PURGED)  #: nothing of the new content is on disk when alt is asked


@dataclass(frozen=True, slots=True)
class Case:
    """``done``: the server did it all the same. ``head``: the HEAD that asks what became of it is lied to as well."""

    way: Way
    lie: str
    done: bool
    head: bool

    def __str__(self) -> str:
        return f"{self.way}, {self.lie}, {'done' if self.done else 'not done'}{', HEAD too' if self.head else ''}"

    @property
    def brief(self) -> bool:
        """One of those that stand for the rest in every run (the rest: ``every_lie.py``)."""
        if self.lie in {"late", "bare 500", "bare 503", "empty 200", "bare 404", "clock skew", "moved", "overrun"}:
            return self.way is ALT_ONLY and not self.head
        if self.lie in SAID_NO:
            return not self.head and (self.way in {OVERWRITE, DELETE} if not self.done else self.way in AROUND)
        return self.way in {ALT_ONLY, COPY_PURGED} or (self.way in {QUEUED, DELETE, IN_PARTS} and not self.head)


LIES = (*((lie, done) for lie in (*SAID_NO, *DOUBTFUL) for done in (False, True)), *((lie, True) for lie in BADLY_SAID))
CASES = [Case(way, lie, done, head) for way in WAYS for lie, done in LIES for head in (False, True)]


def seen(case: Case) -> set[str]:
    """What a client may be told: the status, and who holds it, which is compared with what SeaweedFS holds."""
    if case.way is DELETE:
        return {"204"}
    if case.way in AROUND:
        return {"200 alt", "200 disk", "200 disk,alt", "502", "503"}
    return {"200 disk", "200 disk,alt"}


async def told(world: World, case: Case) -> None:
    """Tell it, and look."""
    kinds = (*case.way.kinds, "HEAD") if case.head else case.way.kinds
    rule = Rule(case.lie, kinds, applied=case.done, seconds=LATE, url="http://127.0.0.1:9")
    trial = await tried(world, case.way, rule)
    assert await judged(world, case.way, trial) == []
    assert f"{trial.said} {trial.said.tiers}".strip() in seen(case)
    assert await mended(world, case.way, trial, denied=case.done and case.lie in SAID_NO) == []


@pytest.mark.parametrize("case", [case for case in CASES if case.brief], ids=str)
def test_what_the_client_is_told_is_true_and_alt_ends_up_with_it(lied_to: World, case: Case) -> None:
    lied_to.run(told(lied_to, case))


def test_a_delete_in_a_storm_of_404s_is_done_when_it_is_over(lied_to: World) -> None:
    async def steps() -> None:
        trial = await tried(lied_to, DELETE, Rule("not found"))
        assert await judged(lied_to, DELETE, trial) == []
        assert lied_to.rig.parts.catalogue.queue_totals().jobs == 1
        assert await mended(lied_to, DELETE, trial) == []

    lied_to.run(steps())


@pytest.mark.parametrize("lie", ["expired token", "clock skew", "slow down", "moved"])
def test_a_queue_whose_credentials_expire_keeps_everything_and_goes_on_with_new_ones(lied_to: World, lie: str) -> None:
    async def steps() -> None:
        lied_to.tell(Rule(lie, skip=2, url="http://127.0.0.1:9"))
        names = [lied_to.name() for _ in range(6)]
        for name in names:
            assert (await lied_to.put(name, content(name), x_tierproxy_ack="disk")).status == 200
        assert (await lied_to.delete(names[0])).status == 204
        assert [(await lied_to.get(name)).status for name in names] == [404] + [200] * 5
        assert lied_to.rig.parts.catalogue.queue_totals().jobs >= 4
        await lied_to.healed()
        wanted = [None, *(content(name) for name in names[1:])]
        assert [await lied_to.stored(name) for name in names] == wanted

    lied_to.run(steps())

"""The rows "disk failing" and "disk full" of the table of outcomes under trouble, in every state of the disk."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from tierproxy.config.sections import MemorySection
from tierproxy.errors import DiskHangs, DiskUnavailable, NoSuchKey, OutOfSpace, Unreadable
from tierproxy.model import Ack, Headers, JobKind, ListRequest, Tier
from tierproxy.model import State as RowState
from tierproxy.ports import State
from tierproxy.store.body import Md5Check
from tierproxy.testing.hanging import HungBlob
from tierproxy.testing.rig import name, pieces

from .sick import ENOUGH, Ward, ward

LARGE = bytes(range(251)) * (3 * 2**20 // 251)
WRITING = ("create", "write_at", "fsync", "rename", "mkdir")
STATES = pytest.mark.parametrize("state", list(State))
DOUBTS = pytest.mark.parametrize("state", [State.UNSTABLE, State.DOWN, State.PROBING])
CLOSED = pytest.mark.parametrize("state", [State.DOWN, State.PROBING])
BODIES = pytest.mark.parametrize("body", [b"a mail" * 10, LARGE], ids=["small", "large"])


async def listed(w: Ward) -> list[str]:
    page = await w.rig.parts.store.page(ListRequest(name("").bucket))
    return [one.key for one in page.objects]


# ---------------------------------------------------------------- reads


@STATES
@BODIES
async def test_what_is_on_disk_and_in_alt_is_served_in_every_state(tmp_path: Path, body: bytes, state: State) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", body)
        await w.enter(state)
        tier, got = await w.result(w.rig.read("u.1"))
        assert got == body
        assert tier is (Tier.ALT if state in {State.DOWN, State.PROBING} else Tier.DISK)


@STATES
@BODIES
async def test_what_is_not_on_disk_is_passed_and_a_disk_in_doubt_gets_no_copy(
    tmp_path: Path, body: bytes, state: State
) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", body)
        await w.rig.purge()
        await w.enter(state)
        assert await w.result(w.rig.read("u.1")) == (Tier.ALT, body)
        await w.rig.idle()
        row = w.rig.row("u.1")
        assert row is not None
        assert (row.blob is not None) == (state is State.NORMAL)


@STATES
async def test_a_copy_that_hangs_is_served_from_alt_within_the_patience(tmp_path: Path, state: State) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", LARGE)
        await w.enter(state)
        with HungBlob(w.file_of("u.1")):
            w.others_hang = 0 if state in {State.DOWN, State.PROBING} else 1
            got, waited = await w.outcome(w.rig.read("u.1"))
            assert got == (Tier.ALT, LARGE)
            assert waited <= (0 if w.others_hang == 0 else 3 if state is State.UNSTABLE else ENOUGH)
        w.others_hang = 0


@CLOSED
async def test_a_disk_in_doubt_is_asked_when_alt_cannot_say(tmp_path: Path, state: State) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", b"a mail")
        await w.enter(state)
        w.alt.down()
        assert await w.result(w.rig.read("u.1")) == (Tier.DISK, b"a mail")


@CLOSED
async def test_memory_is_filled_from_alt_while_it_is_all_there_is(tmp_path: Path, state: State) -> None:
    async with ward(tmp_path, memory=MemorySection()) as w:
        await w.rig.put("u.1", b"a mail")
        await w.enter(state)
        assert await w.result(w.rig.read("u.1")) == (Tier.ALT, b"a mail")
        assert await w.result(w.rig.read("u.1")) == (Tier.MEMORY, b"a mail")
        await w.result(w.rig.put("u.1", b"another"))
        assert await w.result(w.rig.get("u.1")) == b"another"
        await w.result(w.rig.delete("u.1"))
        with pytest.raises(NoSuchKey):
            await w.result(w.rig.get("u.1"))


@STATES
async def test_a_crowd_that_wants_one_object_asks_alt_once(tmp_path: Path, state: State) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", b"a mail")
        await w.rig.purge()
        await w.enter(state)
        w.alt.calls.clear()
        got = await asyncio.gather(*(w.rig.get("u.1") for _ in range(50)))
        assert set(got) == {b"a mail"}
        assert w.alt.calls["get"] == 1


# ---------------------------------------------------------------- what only the disk has


@STATES
@BODIES
async def test_what_only_the_disk_has_is_read_from_it_in_every_state(tmp_path: Path, body: bytes, state: State) -> None:
    async with ward(tmp_path) as w:
        w.alt.down()
        await w.rig.put("u.1", body, ack=Ack.DISK)
        await w.enter(state)
        assert await w.result(w.rig.read("u.1")) == (Tier.DISK, body)


@STATES
async def test_what_only_the_disk_has_and_does_not_give_is_try_again_within_the_patience(
    tmp_path: Path, state: State
) -> None:
    async with ward(tmp_path) as w:
        w.alt.down()
        await w.rig.put("u.1", b"a mail", ack=Ack.DISK)
        await w.passes(5)  # the upload has been tried, and is not tried again so soon
        await w.enter(state)
        with HungBlob(w.file_of("u.1")):
            w.others_hang = 1
            got, waited = await w.outcome(w.rig.get("u.1"))
            assert isinstance(got, DiskHangs)
            assert waited <= ENOUGH
        w.others_hang = 0
        await w.until(lambda: not w.rig.parts.disk_calls.stuck)
        assert await w.result(w.rig.get("u.1")) == b"a mail"


@STATES
async def test_what_only_the_disk_has_is_uploaded_in_every_state(tmp_path: Path, state: State) -> None:
    async with ward(tmp_path) as w:
        w.alt.down()
        await w.rig.put("u.1", b"a mail", ack=Ack.DISK)
        await w.enter(state)
        w.alt.heal()
        await w.rig.parts.catalogue.hurry(None, w.clock.now())
        w.rig.parts.queue.wake()
        await w.until(lambda: not w.rig.journal())
        assert w.in_alt("u.1") == b"a mail"


# ---------------------------------------------------------------- writes


@STATES
@BODIES
async def test_a_write_to_both_tiers_is_taken_in_every_state(tmp_path: Path, body: bytes, state: State) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", b"old")
        await w.enter(state)
        written = await w.result(w.rig.put("u.1", body))
        closed = state in {State.DOWN, State.PROBING}
        assert written.entry.tiers == (("alt",) if closed else ("disk", "alt"))
        assert w.in_alt("u.1") == body
        assert await w.result(w.rig.get("u.1")) == body
        assert (await w.result(w.rig.put("u.2", body))).entry.tiers == written.entry.tiers
        assert await w.result(w.rig.get("u.2")) == body


@pytest.mark.parametrize("state", [State.NORMAL, State.UNSTABLE])
@BODIES
@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC], ids=["read-only", "full"])
async def test_a_write_to_both_tiers_is_taken_by_alt_when_the_disk_refuses(
    tmp_path: Path, code: int, body: bytes, state: State
) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", b"old")
        await w.enter(state)
        w.files.fail(code, *WRITING)
        written = await w.result(w.rig.put("u.1", body))
        assert written.entry.tiers == ("alt",)
        assert w.in_alt("u.1") == body
        assert await w.result(w.rig.read("u.1")) == (Tier.ALT, body)


@CLOSED
@BODIES
async def test_a_write_that_asks_for_the_disk_is_refused_while_it_is_down(
    tmp_path: Path, body: bytes, state: State
) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", b"old")
        await w.enter(state)
        found, waited = await w.outcome(w.rig.put("u.1", body, ack=Ack.DISK))
        assert isinstance(found, DiskUnavailable)
        assert waited == 0
        assert await w.result(w.rig.get("u.1")) == b"old"
        assert w.in_alt("u.1") == b"old"


@CLOSED
async def test_a_part_is_refused_while_the_disk_is_down_and_leaves_nothing(tmp_path: Path, state: State) -> None:
    async with ward(tmp_path) as w:
        parts = w.rig.parts.store.multipart
        up = await parts.create(name("u.1"), Headers(), None, None, None)
        await w.enter(state)
        with pytest.raises(DiskUnavailable):
            await w.result(parts.put_part(up, 1, 6, pieces(b"a part", 6), Md5Check(6)))
        assert not w.rig.parts.space.reserved
        await w.recovers()
        await parts.put_part(up, 1, 6, pieces(b"a part", 6), Md5Check(6))
        await parts.abort(up)


@CLOSED
async def test_a_copy_is_made_in_alt_alone_while_the_disk_is_down(tmp_path: Path, state: State) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", b"a mail")
        await w.enter(state)
        written = await w.result(w.rig.parts.store.copy(name("u.1"), name("u.2")))
        assert written.entry.tiers == ("alt",)
        assert await w.result(w.rig.get("u.2")) == b"a mail"


async def test_a_full_disk_is_not_an_ill_one(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        w.files.fail(errno.ENOSPC, *WRITING)
        for number in range(30):
            await w.result(w.rig.put(f"u.{number}", b"a mail"))
            with pytest.raises(OutOfSpace):
                await w.result(w.rig.put(f"u.{number}", b"a mail", ack=Ack.DISK))
        await w.passes(5)
        assert w.state is State.NORMAL


async def test_a_full_disk_comes_back_although_the_probe_finds_no_room(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        await w.down()
        w.files.fail(errno.ENOSPC, "create")
        await w.until(lambda: w.state is State.NORMAL)


# ---------------------------------------------------------------- deletes, lists, heads


@STATES
async def test_deletes_lists_and_heads_work_in_every_state(tmp_path: Path, state: State) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", b"a mail")
        await w.rig.put("u.2", b"a mail")
        await w.enter(state)
        await w.result(w.rig.delete("u.1"))
        assert w.in_alt("u.1") is None
        with pytest.raises(NoSuchKey):
            await w.result(w.rig.get("u.1"))
        assert (await w.rig.parts.store.head(name("u.2"))).size == 6
        assert await listed(w) == ["u.2"]


@STATES
async def test_a_delete_while_alt_is_down_too_leaves_its_tombstone(tmp_path: Path, state: State) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", b"a mail")
        await w.enter(state)
        w.alt.down()
        await w.result(w.rig.delete("u.1"))
        assert w.rig.journal() == [("u.1", JobKind.DELETE)]
        with pytest.raises(NoSuchKey):
            await w.result(w.rig.get("u.1"))
        w.alt.heal()
        await w.rig.parts.catalogue.hurry(None, w.clock.now())
        w.rig.parts.queue.wake()
        await w.until(lambda: not w.rig.journal())
        assert w.in_alt("u.1") is None


# ---------------------------------------------------------------- damage


@CLOSED
@pytest.mark.parametrize("dirty", [False, True], ids=["clean", "dirty"])
async def test_a_damaged_copy_is_never_served_while_the_disk_is_down(tmp_path: Path, dirty: bool, state: State) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", b"a mail", ack=Ack.BOTH)
        if dirty:
            w.alt.down()
            await w.rig.put("u.1", b"only on disk", ack=Ack.DISK)
        await w.enter(state)
        path = w.file_of("u.1")
        good = path.read_bytes()
        path.write_bytes(b"X" + good[1:])
        if dirty:
            with pytest.raises(Unreadable):
                await w.result(w.rig.get("u.1"))
            row = w.rig.row("u.1")
            assert row is not None
            assert row.state is RowState.DIRTY
        else:
            assert await w.result(w.rig.get("u.1")) == b"a mail"
        path.write_bytes(good)
        w.rig.parts.alarms.clear("only copy damaged", str(name("u.1")))


# ---------------------------------------------------------------- who reads files without asking


@DOUBTS
async def test_nobody_reads_files_past_the_node_while_the_disk_is_in_doubt(tmp_path: Path, state: State) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", b"a mail")
        near = w.rig.parts.near
        before = near.find(name("u.1"))
        assert before is not None
        assert near.stands(before)
        await w.enter(state)
        assert not near.stands(before)
        assert near.find(name("u.1")) is None
        w.rig.parts.versions.all_changed()
        assert near.find(name("u.1")) is None, "a change of everything does not end it"
        await w.recovers()
        assert not near.stands(before)
        after = near.find(name("u.1"))
        assert after is not None
        assert near.load(after) == b"a mail"

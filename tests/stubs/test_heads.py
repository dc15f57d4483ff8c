"""Heads and tails on disk."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.config.sections import StubsSection
from tierproxy.config.values import Size
from tierproxy.disk.fsio import Files
from tierproxy.model import ObjectName, Stub
from tierproxy.offload import ThreadPool
from tierproxy.stubs.database import Opener, PlainDisk, StubDatabase, open_cache
from tierproxy.stubs.heads import Heads, NoStubs, open_stubs
from tierproxy.stubs.record import decode, encode
from tierproxy.testing.contracts.stubs import KEEPING, PROMISES, ROOM, Promise, name, stub
from tierproxy.testing.invariants import leaks
from tierproxy.testing.memory_stubs import MemoryStubs

CHILD = """
import asyncio, sys
from pathlib import Path
from tierproxy.disk.fsio import Files
from tierproxy.model import ObjectName, Stub
from tierproxy.offload import ThreadPool
from tierproxy.stubs.heads import Heads

async def main():
    stubs = await Heads.open(Path(sys.argv[1]), 2**20, Files(), ThreadPool("stubs", 1))
    for number in range(10**9):
        mine = [Stub(10**6, b"%d " % (number + one) * 1500, b"tail %d" % (number + one)) for one in range(8)]
        await asyncio.gather(*(stubs.put(ObjectName("mail", f"{(number + one) % 150}"), number + one, found)
                               for one, found in enumerate(mine)))
        print(number, flush=True)

asyncio.run(main())
"""


@asynccontextmanager
async def heads(root: Path, *, anew: bool = False, opener: Opener = open_cache) -> AsyncIterator[Heads]:
    found = await Heads.open(root / "stubs", ROOM, Files(), ThreadPool("stubs", 1), anew=anew, opener=opener)
    try:
        yield found
    finally:
        await found.close()


class Failing:
    """A diskcache that fails in every third call, as a disk does that is full or does not answer."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache
        self._calls = count()

    def __getattr__(self, attribute: str) -> Any:
        if attribute in {"get", "set", "delete", "transact", "cull", "volume"} and next(self._calls) % 3 == 1:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        return getattr(self._cache, attribute)

    def __len__(self) -> int:
        return len(self._cache)

    def __contains__(self, key: str) -> bool:
        return key in self._cache


def failing(directory: Path, max_bytes: int) -> Failing:
    return Failing(open_cache(directory, max_bytes))


@pytest.mark.parametrize("promise", [*PROMISES, *KEEPING], ids=lambda promise: promise.__name__)
async def test_contract_on_disk(promise: Promise, tmp_path: Path) -> None:
    with leaks():
        async with heads(tmp_path) as found:
            await promise(found)


@pytest.mark.parametrize("promise", [*PROMISES, *KEEPING], ids=lambda promise: promise.__name__)
async def test_contract_in_memory(promise: Promise) -> None:
    await promise(MemoryStubs(ROOM))


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_contract_on_a_failing_disk(promise: Promise, tmp_path: Path) -> None:
    with leaks():
        async with heads(tmp_path, opener=failing) as found:
            await promise(found)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_contract_without_any(promise: Promise) -> None:
    await promise(NoStubs())


async def test_stubs_survive_a_restart(tmp_path: Path) -> None:
    async with heads(tmp_path) as first:
        await first.put(name("k"), 7, stub(b"kept"))
        first.drop(name("nothing"))
    async with heads(tmp_path) as second:
        assert second.objects == 1
        assert await second.get(name("k"), 7) == stub(b"kept")


async def test_a_drop_that_was_not_flushed_is_done_at_the_end(tmp_path: Path) -> None:
    async with heads(tmp_path) as first:
        await first.put(name("k"), 7, stub())
        first.drop(name("k"))
    async with heads(tmp_path) as second:
        assert second.objects == 0


async def test_a_new_catalogue_begins_without_the_stubs_of_the_old(tmp_path: Path) -> None:
    async with heads(tmp_path) as first:
        await first.put(name("k"), 7, stub())
    async with heads(tmp_path, anew=True) as second:
        assert await second.get(name("k"), 7) is None
        await second.put(name("k"), 7, stub(b"new"))
        assert await second.get(name("k"), 7) == stub(b"new")


async def test_a_new_catalogue_has_none_of_the_old_stubs_either_when_stubs_are_off_for_a_while(tmp_path: Path) -> None:
    async with heads(tmp_path) as first:
        await first.put(name("k"), 7, stub())
    for size, anew in ((0, True), (2**20, False)):
        opened = await open_stubs(StubsSection(max_bytes=Size(size)), tmp_path / "stubs", Files(), anew=anew)
        assert await opened.get(name("k"), 7) is None
        await opened.close()


# ------------------------------------------------------------ damage


@pytest.mark.parametrize("garbage", [b"", b"x", b"not a database at all" * 500], ids=["empty", "one byte", "text"])
async def test_what_is_no_database_is_thrown_away_and_begun_anew(
    garbage: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "stubs"
    directory.mkdir()
    (directory / "cache.db").write_bytes(garbage)
    with leaks(), caplog.at_level(logging.WARNING):
        async with heads(tmp_path) as found:
            await found.put(name("a"), 1, stub())  # where opening failed this may be what begins anew
            await found.put(name("b"), 2, stub(b"b"))
            assert await found.get(name("b"), 2) == stub(b"b")
    if len(garbage) > 1:
        assert [record.message for record in caplog.records] == ["stubs damaged, begun anew"]


async def test_a_flipped_bit_is_not_there(tmp_path: Path) -> None:
    """Every bit that is flipped somewhere in the file costs stubs at most, and never shows other bytes."""
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    kept = {f"{number}": stub(b"%d " % number * 300, b"tail %d" % number) for number in range(40)}
    async with heads(tmp_path) as found:
        for key, value in kept.items():
            await found.put(name(key), 3, value)
    whole = (tmp_path / "stubs" / "cache.db").read_bytes()
    for _ in range(40):
        broken = bytearray(whole)
        for _ in range(dice.choice((1, 1, 1, 20))):
            broken[dice.randrange(len(broken))] ^= 1 << dice.randrange(8)
        (tmp_path / "stubs" / "cache.db").write_bytes(broken)
        async with heads(tmp_path) as found:
            for key, value in kept.items():
                assert await found.get(name(key), 3) in {None, value}
            await found.put(name("new"), 9, stub(b"new"))
            await found.put(name("new"), 9, stub(b"new"))
            assert await found.get(name("new"), 9) in {None, stub(b"new")}


async def test_a_stub_with_a_flipped_bit_is_removed_and_the_others_stay(tmp_path: Path) -> None:
    async with heads(tmp_path) as found:
        await found.put(name("a"), 1, stub(b"A" * 3000))
        await found.put(name("b"), 1, stub(b"B" * 3000))
    file = tmp_path / "stubs" / "cache.db"
    data = bytearray(file.read_bytes())
    data[data.index(b"A" * 100) + 50] ^= 4
    file.write_bytes(data)
    async with heads(tmp_path) as found:
        assert await found.get(name("a"), 1) is None
        assert await found.get(name("b"), 1) == stub(b"B" * 3000)
        await found.flush()
        assert found.objects == 1


async def test_a_database_that_is_damaged_while_it_is_used_is_begun_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with leaks():
        async with heads(tmp_path) as found:
            await found.put(name("k"), 1, stub())
            foreign = sqlite3.connect(tmp_path / "stubs" / "cache.db")
            foreign.execute("DROP TABLE Cache")
            foreign.commit()
            foreign.close()
            assert await found.get(name("k"), 1) is None
            assert found.objects == 0
            await found.put(name("k"), 1, stub(b"again"))
            assert await found.get(name("k"), 1) == stub(b"again")
    assert [record.message for record in caplog.records] == ["stubs damaged, begun anew"]


async def test_rows_of_strangers_are_never_unpickled(tmp_path: Path) -> None:
    """diskcache loads what a row says is a pickle (CVE-2025-69872); here it is not even looked at."""
    async with heads(tmp_path) as found:
        await found.put(name("k"), 1, stub())
    marker = tmp_path / "executed"
    evil = b"cposix\nsystem\n(S'touch %s'\ntR." % str(marker).encode()
    file = tmp_path / "stubs" / "evil.val"
    file.write_bytes(evil)
    for mode, value, filename in ((4, evil, None), (4, None, "evil.val"), (3, None, "evil.val"), (2, None, "../x")):
        foreign = sqlite3.connect(tmp_path / "stubs" / "cache.db")
        foreign.execute("UPDATE Cache SET mode = ?, value = ?, filename = ?", (mode, value, filename))
        foreign.commit()
        foreign.close()
        async with heads(tmp_path) as found:
            assert await found.get(name("k"), 1) is None
            await found.put(name("k"), 1, stub())
            await found.put(name("k"), 1, stub())
    assert not marker.exists()


@pytest.mark.parametrize("value", ["text", 1, None, bytearray(b"x"), [b"x"]])
def test_only_plain_keys_and_values_are_taken(value: object, tmp_path: Path) -> None:
    disk = PlainDisk(str(tmp_path))
    with pytest.raises(TypeError):
        disk.store(value, False)
    with pytest.raises(TypeError):
        disk.put(value if value != "text" else b"bytes")
    for call in (lambda: disk.fetch(4, None, b"x", False), lambda: disk.get(b"x", False)):
        with pytest.raises(TypeError):
            call()


async def test_a_disk_that_fails_is_logged_once_and_when_it_works_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "stubs").write_bytes(b"a file where the directory should be")
    with caplog.at_level(logging.INFO):
        async with heads(tmp_path) as found:
            for number in range(5):
                await found.put(name("k"), number, stub())
                assert await found.get(name("k"), number) is None
            (tmp_path / "stubs").unlink()
            await found.put(name("k"), 9, stub())
            assert await found.get(name("k"), 9) == stub()
    assert [record.message for record in caplog.records] == ["stubs fail", "stubs work again"]


async def test_where_a_use_cannot_be_noted_the_stub_is_still_there(tmp_path: Path) -> None:
    def read_only(directory: Path, max_bytes: int) -> Any:
        cache = open_cache(directory, max_bytes)
        cache.reset("sqlite_query_only", 1, update=False)
        return cache

    async with heads(tmp_path) as found:
        await found.put(name("k"), 1, stub())
    async with heads(tmp_path, opener=read_only) as found:
        assert await found.get(name("k"), 1) == stub()


async def test_killed_in_the_middle_of_writing_it_shows_nothing_that_was_not_put(tmp_path: Path) -> None:
    for lines in (1, 5, 12):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, str(tmp_path / "stubs"), stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        for _ in range(lines):
            assert await child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        await child.communicate()
        async with heads(tmp_path) as found:
            there = 0
            for number in range(40):
                kept = await found.get(name(f"{number % 150}"), number)
                assert kept in {None, Stub(10**6, b"%d " % number * 1500, b"tail %d" % number)}
                there += kept is not None
            assert there
            await found.put(name("after"), 1, stub())
            assert await found.has(name("after"), 1)


# ------------------------------------------------------------ records


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=40), st.integers(0, 2**63), st.integers(0, 2**50), st.binary(max_size=300), st.binary(max_size=50)
)
def test_a_record_says_what_was_put_in(key: str, generation: int, size: int, head: bytes, tail: bytes) -> None:
    whose = ObjectName("mail", key)
    raw = encode(whose, generation, Stub(size, head, tail))
    assert decode(whose, raw) == (generation, Stub(size, head, tail))
    assert decode(ObjectName("mail", key + "x"), raw) is None
    assert decode(whose, raw[:-1]) is None
    assert decode(whose, raw + b"\0") is None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100), st.data())
def test_no_flipped_bit_of_a_record_goes_unseen(head: bytes, data: st.DataObject) -> None:
    raw = bytearray(encode(name("k"), 5, Stub(1000, head, b"tail")))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert decode(name("k"), bytes(raw)) is None


def test_nothing_is_opened_before_it_is_asked_for(tmp_path: Path) -> None:
    database = StubDatabase(tmp_path / "stubs", ROOM, Files())
    assert not (tmp_path / "stubs").exists()
    database.close()

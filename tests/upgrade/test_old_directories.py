"""What earlier versions have left is opened by this one, and nothing of it is lost."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.upgrade.make_data import BUCKET, DATA, ERAS, PART
from tests.upgrade.then import NAMES, Old, unpacked
from tierproxy.catalogue import catalogue_file
from tierproxy.catalogue.migrations import applied_migrations, known_migrations
from tierproxy.cli.program import app
from tierproxy.disk import trailer
from tierproxy.formats import KNOWN
from tierproxy.history import schema
from tierproxy.history.reading import open_history
from tierproxy.model import JobKind, ObjectName, State, Tier
from tierproxy.purges import PurgeRun, RunKind, RunState
from tierproxy.testing.rig import Rig, rig

MOST = 64 * 1024  #: bytes of all archives together


@pytest.fixture(params=NAMES)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Old:
    return unpacked(request.param, tmp_path)


async def test_every_object_is_there_and_right(old: Old) -> None:
    async with rig(old.data, alt=await old.alt(), **old.options()) as one:
        for key, content in old.contents.items():
            assert await one.get(key) == content
        for key in old.facts["deleted"]:
            assert one.row(key) is None or one.row(key).state is State.DELETING  # type: ignore[union-attr]
        assert one.parts.catalogue.totals().objects == len(old.contents)


async def test_the_queue_goes_on_and_alt_has_everything_in_the_end(old: Old) -> None:
    alt = await old.alt()
    async with rig(old.data, alt=alt, **old.options()) as one:
        await one.drained()
        assert {name.key: alt.content(name) for name in alt.names()} == old.contents
        for key in old.facts["dirty"]:
            row = one.row(key)
            assert row is not None
            assert row.state is State.CLEAN


async def test_what_waits_is_what_waited(old: Old) -> None:
    with closing(sqlite3.connect(catalogue_file(old.data))) as then:
        jobs = {(key, kind) for key, kind in then.execute("SELECT key, kind FROM job")}
    assert jobs == {(key, str(JobKind.PUT)) for key in old.facts["dirty"]} | {
        (key, str(JobKind.DELETE)) for key in old.facts["deleted"]
    }


async def test_counts_and_uploads_are_kept(old: Old) -> None:
    async with rig(old.data, alt=await old.alt(), **old.options()) as one:
        for key, times in old.facts["reads"].items():
            row = one.row(key)
            assert row is not None
            assert row.reads == times
        (upload,) = one.parts.catalogue.uploads(BUCKET)
        assert upload.name.key == "carol/parts"
        (part,) = one.parts.catalogue.parts(upload.id)
        assert part.size == len(PART)


async def test_the_catalogue_is_as_a_new_one_would_be(old: Old, tmp_path: Path) -> None:
    async with rig(old.data, alt=await old.alt()), rig(tmp_path / "new"):
        with (
            closing(sqlite3.connect(catalogue_file(old.data))) as upgraded,
            closing(sqlite3.connect(catalogue_file(tmp_path / "new"))) as new,
        ):
            assert applied_migrations(upgraded) == list(known_migrations())
            everything = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"
            assert upgraded.execute(everything).fetchall() == new.execute(everything).fetchall()


async def test_history_is_read_and_goes_on(old: Old) -> None:
    if not old.facts["history"]:
        assert not (old.data / "history").exists()
    async with rig(old.data, alt=await old.alt(), **old.options()) as one:
        assert await one.get("alice/1")
    found = open_history(old.data)
    assert found.skipped == []
    events = [(event["kind"], event["key"]) for event in found.events()]
    assert ("read", "alice/1") in events
    if old.facts["history"]:
        assert {("write", key) for key in old.contents} <= set(events)
        assert ("purge", "dave/purged") in events


async def test_rules_run_on_what_was_there(old: Old) -> None:
    async with rig(old.data, alt=await old.alt(), **old.options()) as one:
        await one.drained()
        run = await run_rules(one)
        assert run.objects == 2, "the large ones"
        for key in ("alice/large", "carol/large"):
            row = one.row(key)
            assert row is not None
            assert row.blob is None
        row = one.row("alice/1")
        assert row is not None
        assert row.blob is not None
        assert await one.read("alice/large") == (Tier.ALT, old.contents["alice/large"])


async def run_rules(one: Rig) -> PurgeRun:
    """One run of the rules that are live, carried out."""
    catalogue, purges = one.parts.catalogue, one.parts.purges
    wish = PurgeRun(0, RunKind.RULES, RunState.ASKED, one.parts.clock.now(), author="upgrade", confirmed=True)
    return await purges.runs.carry_out(await catalogue.add_run(wish))


async def test_stubs_of_then_answer(old: Old) -> None:
    async with rig(old.data, alt=await old.alt(), **old.options()) as one:
        assert bool(one.parts.stubs.objects) is (old.facts["name"] >= "4-stubs")


async def test_check_finds_nothing_before_and_after_a_node(old: Old) -> None:
    file = old.data.parent / "tierproxy.toml"
    file.write_text(f'[node]\ndata_dir = "{old.data}"\n[alt]\naccess_key_id = "a"\nsecret_access_key = "b"\n')
    file.chmod(0o600)
    file.write_text(file.read_text() + f'[listen]\nauth = "none"\n[[bucket]]\nname = "{BUCKET}"\n')

    async def checked() -> None:
        result = await asyncio.to_thread(CliRunner().invoke, app, ["check", "--json", "--config", str(file)])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["sound"]

    await checked()
    async with rig(old.data, alt=await old.alt(), **old.options()):
        pass
    await checked()


async def test_from_now_on_the_directory_says_what_it_is_written_in(old: Old) -> None:
    assert (old.data / "format").exists() is (old.facts["name"] >= "5-format")
    async with rig(old.data, alt=await old.alt()):
        pass
    said = json.loads((old.data / "format").read_text())
    assert said["formats"] == dict(KNOWN)
    assert (old.data / "format").stat().st_mode & 0o777 == 0o600


# ---------------------------------------------------------------- the house's own rules


def test_the_table_of_formats_is_that_of_the_code() -> None:
    """Whoever raises one of them raises it there as well, and adds a directory of the version before (docs/security.md,
    Releases)."""
    assert KNOWN["catalogue"] == len(known_migrations())
    assert KNOWN["blobs"] == trailer.VERSION
    assert KNOWN["history"] == schema.VERSION


RELEASED = {
    "0001_catalogue": "54e42bffb8761822",
    "0002_generation_gaps": "2a046d6e377f0307",
    "0003_counting_and_rules": "e175e8923557eff6",
}


def test_a_migration_that_directories_have_been_through_is_never_changed() -> None:
    """A catalogue is not migrated twice by the same name: a change goes into a new file."""
    known = {name: hashlib.sha256(sql.encode()).hexdigest()[:16] for name, sql in known_migrations().items()}
    assert {name: known[name] for name in RELEASED} == RELEASED


def test_there_is_a_directory_of_every_version_of_every_format() -> None:
    """All but the present one, which every other test has."""
    made = " ".join(era.formats for era in ERAS)
    for name in ("catalogue", "blobs", "directory", "history", "stubs"):
        for number in range(1, KNOWN[name]):
            assert f"{name} {number}" in made


def test_the_archives_are_small_and_complete() -> None:
    files = sorted(DATA.glob("*.tar.xz"))
    assert [file.name.removesuffix(".tar.xz") for file in files] == NAMES
    assert sum(file.stat().st_size for file in files) < MOST


def test_names_of_objects_are_as_they_were_given(tmp_path: Path) -> None:
    assert ObjectName(BUCKET, "bob/ä b+c").key in unpacked(NAMES[0], tmp_path).contents

"""Nothing of people is left, and everything a simulation needs is."""

from __future__ import annotations

import string
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.history.rigs import events
from tierproxy.config.sections import FoldersSection
from tierproxy.disk.fsio import Files
from tierproxy.history import schema
from tierproxy.history.anonymise import CLASSES, Anonymiser
from tierproxy.history.export import Export
from tierproxy.history.reading import open_history
from tierproxy.history.rows import object_id
from tierproxy.history.segments import write
from tierproxy.mail.names import OTHER, Naming
from tierproxy.model import ObjectName
from tierproxy.traffic import Event, EventKind, Outcome, Reason

HIDDEN = Anonymiser(b"salt" * 8)

KEPT = " ".join((*CLASSES, *Outcome, *Reason, *EventKind, *schema.NAMES, "mail invalid storage rule pressure operator"))
"""Words an export may have: they name nobody."""

# Words that cannot be in a hash by chance: longer than three letters, none of them a hexadecimal digit.
WORDS = st.text("ghijklmnopqrstuvwxyz", min_size=4, max_size=12).filter(lambda word: word not in KEPT)
OWNERS = WORDS | st.builds("{}@{}.org".format, WORDS, WORDS)
NUMBERED = st.integers(0, 10**6).map("u.{}".format)
KEYS = st.lists(WORDS | WORDS.map("{}.eml".format) | NUMBERED, min_size=1, max_size=5).map("/".join)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Events of a few owners, whose keys name them or not."""
    owners = draw(st.lists(OWNERS, min_size=1, max_size=4))
    made = []
    for at in range(draw(st.integers(1, 12))):
        owner, key = draw(st.sampled_from(owners)), draw(KEYS)
        name = ObjectName(draw(WORDS), f"{owner}/{key}" if draw(st.booleans()) else key)
        folder, client, by = (
            draw(WORDS | st.sampled_from(sorted(CLASSES))),
            draw(WORDS),
            draw(WORDS.map("rule:{}".format)),
        )
        size = draw(st.integers(0, 10**6))
        made.append(Event(float(at), EventKind.READ, name, owner, folder, size, size, draw(WORDS), "", client, by))
    return made


def steps(event: Event) -> set[str]:
    """What must not be readable any more."""
    texts = {event.owner, event.name.bucket, event.client, event.folder, event.outcome, event.by.removeprefix("rule:")}
    texts |= {*event.name.key.split("/"), *event.owner.split("@")}
    texts = {part for text in texts for part in (text, text.removesuffix(".eml"), text.removesuffix(".org"))}
    return {text for text in texts if text not in CLASSES and not text.startswith("u.")}


@settings(max_examples=60, deadline=None)
@given(histories())
def test_nothing_of_names_is_left(given_events: list[Event]) -> None:
    frame = HIDDEN.frame(schema.frame_of(given_events))
    written = frame.write_csv() + " ".join(frame.columns)
    assert [step for event in given_events for step in steps(event) if step in written] == []


@settings(max_examples=60, deadline=None)
@given(histories())
def test_what_was_equal_stays_equal_and_nothing_else_becomes_so(given_events: list[Event]) -> None:
    before = schema.frame_of(given_events)
    after = HIDDEN.frame(before)
    for column in ("bucket", "key", "object", "owner", "folder", "client", "by"):
        pairs = set(zip(before[column].to_list(), after[column].to_list(), strict=True))
        assert len(pairs) == before[column].n_unique() == after[column].n_unique(), column
    for column in ("at", "kind", "size", "sent", "first"):
        assert before[column].to_list() == after[column].to_list()
    for bucket, key, number in after.select("bucket", "key", "object").rows():
        assert object_id(bucket, key) == number


@settings(max_examples=60, deadline=None)
@given(histories())
def test_a_key_that_names_its_owner_still_does_and_keeps_its_shape(given_events: list[Event]) -> None:
    after = HIDDEN.frame(schema.frame_of(given_events))
    for event, (key, owner) in zip(given_events, after.select("key", "owner").rows(), strict=True):
        old, new = event.name.key.split("/"), key.split("/")
        assert len(old) == len(new)
        assert (old[0] == event.owner) == (new[0] == owner)
        for before, now in zip(old, new, strict=True):
            assert before.endswith(".eml") == now.endswith(".eml")
            assert (before == now) == before.startswith("u.")


def test_owner_and_folder_can_still_be_told_from_the_keys_of_mail_stores() -> None:
    naming = Naming((), FoldersSection())
    key = "example.org/alice/mailboxes/INBOX/dbox-Mails/u.17"
    owner, folder = naming.of(ObjectName("mail", key))
    assert naming.of(ObjectName("x", HIDDEN.key(key))) == (HIDDEN.owner(owner), folder)


def test_every_folder_class_of_the_configuration_stays_readable() -> None:
    assert {*FoldersSection.__dataclass_fields__, OTHER, ""} == CLASSES


def test_exports_fit_together_by_their_salt_only() -> None:
    assert Anonymiser(b"a" * 32).owner("alice") == Anonymiser(b"a" * 32).owner("alice")
    assert Anonymiser(b"a" * 32).owner("alice") != Anonymiser(b"b" * 32).owner("alice")


def test_an_export_is_a_history_again(tmp_path: Path) -> None:
    write(tmp_path, schema.frame_of(events(0, 10)), files=Files(), node="secret-host")
    work = Export(open_history(tmp_path), since=1_700_000_002, anonymiser=HIDDEN)
    (path,) = work.to_directory(tmp_path / "out", Files())
    found = list(open_history(tmp_path / "out").events())
    assert len(found) == work.events == 8
    assert [event["key"].rpartition("/")[2] for event in found] == [f"u.{n}" for n in range(2, 10)]
    assert b"secret-host" not in path.read_bytes()
    assert pl.read_parquet_metadata(path)[schema.META_NODE] == ""


def test_letters_of_hashes_are_hexadecimal() -> None:
    assert set(HIDDEN.client("somebody")) <= set(string.hexdigits)

"""The machine stops at every step of a write that describes its mail: the stories of ``tests/store/test_crash.py`` with
real mails, and whatever is there afterwards says what it is, in the row and in alt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.mail.samples import GUID, MAIL, sdbox
from tests.store import test_crash as crash
from tests.store.test_crash import Story, put, tell
from tierproxy.config.sections import BucketSection, Config
from tierproxy.errors import NoSuchKey
from tierproxy.mail.metadata import facts_of
from tierproxy.mail.skeleton import skeleton
from tierproxy.model import Ack, Headers
from tierproxy.store.body import Md5Check
from tierproxy.testing import rig as rigs
from tierproxy.testing.rig import BUCKET, Rig, name, pieces

OLD, NEW = sdbox(), sdbox(MAIL * 2)
LARGE = sdbox(MAIL + b"x" * 2_000_000)


async def multipart(r: Rig) -> None:
    parts = r.parts.store.multipart
    upload = await parts.create(name("u.1"), Headers(), None, None, None)
    part = await parts.put_part(upload, 1, len(LARGE), pieces(LARGE, 2**20), Md5Check())
    await parts.complete(upload, [(1, part.etag)])


STORIES = {
    "a new mail, ack both": Story(put(NEW, Ack.BOTH), None, NEW),
    "a new mail, ack disk": Story(put(NEW, Ack.DISK), None, NEW),
    "an overwrite, ack both": Story(put(NEW, Ack.BOTH), OLD, NEW, put(OLD, Ack.BOTH)),
    "a copy onto itself": Story(
        lambda r: r.parts.store.copy(name("u.1"), name("u.1"), headers=Headers()), OLD, OLD, put(OLD, Ack.BOTH)
    ),
    "a multipart upload": Story(multipart, None, LARGE),
}
_config_for, _content = rigs.config_for, crash.content


def with_metadata(root: Path, **sections: Any) -> Config:
    return replace(_config_for(root, **sections), bucket=(BucketSection(name=BUCKET, mail_metadata=True),))


async def described(r: Rig, key: str) -> bytes | None:
    """The content; its metadata must be that content's, and alt's the same."""
    found = await _content(r, key)
    if found in {OLD, NEW, LARGE} and found is not None:
        entry = await r.parts.store.head(name(key))
        assert entry.headers is not None
        facts = facts_of(entry.headers.metadata)
        assert facts["guid"] == GUID
        assert skeleton(facts, len(found)) is not None
        try:
            assert facts_of((await r.alt.head(name(key))).headers.metadata) == facts  # type: ignore[union-attr]
        except NoSuchKey:
            assert r.journal()
    return found


@pytest.mark.parametrize("where", ["file", "before commit", "after commit"])
@pytest.mark.parametrize("story", STORIES, ids=lambda title: title.replace(" ", "-"))
async def test_what_survives_a_crash_says_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, story: str, where: str
) -> None:
    monkeypatch.setattr(rigs, "config_for", with_metadata)
    monkeypatch.setattr(crash, "content", described)
    crash_at, crashed = 0, True
    while crashed:
        crash_at += 1
        assert crash_at < 100, "the story never got through"
        crashed = await tell(STORIES[story], tmp_path / str(crash_at), crash_at=crash_at, where=where, cut=1)
    assert crash_at > 1 or where != "before commit", "the machine never stopped"

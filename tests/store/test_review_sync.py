"""What a walk over alt leaves that was cut off, and what it asks for when it is begun again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mail.samples import sdbox
from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import BucketSection
from tierproxy.errors import AltUnavailable
from tierproxy.mail.metadata import Whose, described, said
from tierproxy.model import Headers
from tierproxy.store.body import MemorySource
from tierproxy.store.describing import ends_in
from tierproxy.store.sync import Sync
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.memory_stubs import MemoryStubs
from tierproxy.testing.rig import BUCKET, name, rig

ON = (BucketSection(name=BUCKET, mail_metadata=True),)
MANY = 1200


async def filled() -> MemoryAlt:
    alt, body = MemoryAlt(), sdbox()
    for number in range(MANY):
        key = f"u{number % 50}/mailboxes/INBOX/dbox-Mails/u.{number}"
        mail = said(key, ends_in(body))
        assert mail is not None
        metadata = described(mail, Whose(), 0.0, {})
        await alt.put(name(key), MemorySource(body), Headers(metadata=metadata), md5="")
    return alt


async def test_a_walk_that_alt_cuts_off_goes_on_where_it_was(tmp_path: Path) -> None:
    memory = await filled()
    alt, stubs = FaultyAlt(memory), MemoryStubs(2**26)
    async with rig(tmp_path, alt=alt, bucket=ON) as r:

        def walk() -> Sync:
            return Sync(catalogue=r.parts.catalogue, alt=alt, bucket=BUCKET, heads=True, stubs=stubs)

        for after in (300, 700):
            alt.fail("head", AltUnavailable("503"), nth=after)
            with pytest.raises(AltUnavailable):
                await walk().run()
            alt.heal()
            row = r.parts.catalogue.bucket(BUCKET)
            assert row is not None
            assert not row.complete
        report = await walk().run()
        assert (report.objects, report.complete, report.lost, report.differing) == (MANY, True, 0, 0)
        assert MANY <= memory.requests["head"] <= MANY + 2 * 16
        assert stubs.objects == MANY
        asked = memory.requests["head"]
        again = await walk().run()
        assert (again.heads, again.stubs, memory.requests["head"]) == (0, 0, asked)

"""Configuration as questions: the most particular answer counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tierproxy.config.sections import BucketSection, Config, FillSection, PolicySection, WriteSection
from tierproxy.model import Ack, FillPolicy, ObjectName, OnAltDown
from tierproxy.store.policies import Policies, WritePolicy
from tierproxy.testing.rig import BUCKET, rig

CONFIG = Config(
    write=WriteSection(ack=Ack.BOTH, on_alt_down=OnAltDown.QUEUE),
    fill=FillSection(policy=FillPolicy.SECOND_READ),
    bucket=(
        BucketSection(name="plain"),
        BucketSection(
            name="own", ack=Ack.DISK, on_alt_down=OnAltDown.REFUSE, fill=FillPolicy.ALWAYS,
            policy=(
                PolicySection(key="tmp/*", fill=FillPolicy.NEVER), PolicySection(key="*.log", ack=Ack.ALT),
                PolicySection(key="tmp/*", ack=Ack.BOTH),
            ),
        ),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("bucket", "key", "asked", "ack", "down"),
    [
        ("plain", "u.1", None, Ack.BOTH, OnAltDown.QUEUE),
        ("plain", "u.1", Ack.ALT, Ack.ALT, OnAltDown.QUEUE),
        ("own", "u.1", None, Ack.DISK, OnAltDown.REFUSE),
        ("own", "a.log", None, Ack.ALT, OnAltDown.REFUSE),
        ("own", "tmp/a", None, Ack.BOTH, OnAltDown.REFUSE),
        ("own", "tmp/a.log", None, Ack.ALT, OnAltDown.REFUSE),
        ("own", "a.log", Ack.DISK, Ack.DISK, OnAltDown.REFUSE),
        ("dynamic", "u.1", None, Ack.BOTH, OnAltDown.QUEUE),
    ],
)
def test_request_pattern_bucket_and_node_are_asked_in_this_order(
    bucket: str, key: str, asked: Ack | None, ack: Ack, down: OnAltDown
) -> None:
    assert Policies(CONFIG).write(ObjectName(bucket, key), asked) == WritePolicy(ack, down)


@pytest.mark.parametrize(
    ("bucket", "key", "fill"),
    [
        ("plain", "u.1", FillPolicy.SECOND_READ),
        ("own", "u.1", FillPolicy.ALWAYS),
        ("own", "tmp/u.1", FillPolicy.NEVER),
        ("own", "TMP/u.1", FillPolicy.ALWAYS),
    ],
)
def test_the_first_pattern_that_says_something_about_fills_counts(bucket: str, key: str, fill: FillPolicy) -> None:
    assert Policies(CONFIG).fill(ObjectName(bucket, key)) is fill


def test_a_reload_applies_to_the_next_question() -> None:
    policies = Policies(CONFIG)
    policies.reload(Config(write=WriteSection(ack=Ack.ALT)))
    assert policies.write(ObjectName("own", "u.1"), None).ack is Ack.ALT
    assert policies.configured() == []


async def test_the_ack_of_a_key_pattern_is_obeyed(tmp_path: Path) -> None:
    bucket = BucketSection(name=BUCKET, policy=(PolicySection(key="tmp/*", ack=Ack.ALT),))
    async with rig(tmp_path, bucket=(bucket,)) as r:
        assert (await r.put("tmp/1", b"x")).entry.tiers == ("alt",)
        assert (await r.put("u.1", b"x")).entry.tiers == ("disk", "alt")
        assert (await r.put("tmp/1", b"x", ack=Ack.BOTH)).entry.tiers == ("disk", "alt")

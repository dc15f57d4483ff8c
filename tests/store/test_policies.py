"""Configuration as questions: the most particular answer counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tierproxy.config.sections import BucketSection, Config, FillSection, PolicySection, WriteSection
from tierproxy.model import Ack, Entry, FillPolicy, ObjectName, OnAltDown, State
from tierproxy.rules.model import Measure, NumberCondition, Operator, Rule, RuleSet, TextCondition, Word
from tierproxy.store.policies import Policies, WritePolicy
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.rig import BUCKET, rig
from tierproxy.traffic import Visitor

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


def asked_of(config: Config) -> Policies:
    """Policies of ``config``, where the first directory of a key is its owner."""
    return Policies(config, VirtualClock(), lambda name: (name.key.partition("/")[0], ""))


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
    assert asked_of(CONFIG).write(ObjectName(bucket, key), asked) == WritePolicy(ack, down)


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
    assert asked_of(CONFIG).fill(ObjectName(bucket, key)) is fill


def test_a_reload_applies_to_the_next_question() -> None:
    policies = asked_of(CONFIG)
    policies.reload(Config(write=WriteSection(ack=Ack.ALT)))
    assert policies.write(ObjectName("own", "u.1"), None).ack is Ack.ALT
    assert policies.configured() == []


async def test_the_ack_of_a_key_pattern_is_obeyed(tmp_path: Path) -> None:
    bucket = BucketSection(name=BUCKET, policy=(PolicySection(key="tmp/*", ack=Ack.ALT),))
    async with rig(tmp_path, bucket=(bucket,)) as r:
        assert (await r.put("tmp/1", b"x")).entry.tiers == ("alt",)
        assert (await r.put("u.1", b"x")).entry.tiers == ("disk", "alt")
        assert (await r.put("tmp/1", b"x", ack=Ack.BOTH)).entry.tiers == ("disk", "alt")


def ruled() -> Policies:
    policies = asked_of(CONFIG)
    large = NumberCondition(Measure.SIZE, Operator.GT, 1000)
    policies.rules = RuleSet(
        (
            Rule("ann's", (TextCondition(Word.OWNER, ("ann",)),), write=Ack.ALT, fill=FillPolicy.ALWAYS),
            Rule("large", (large,), write=Ack.DISK, fill=FillPolicy.NEVER),
        )
    )
    return policies


def test_a_rule_goes_before_key_patterns_and_buckets_and_after_the_request() -> None:
    policies = ruled()
    assert policies.write(ObjectName("own", "tmp/a"), None).ack is Ack.BOTH
    assert policies.write(ObjectName("own", "tmp/a"), None, size=2000).ack is Ack.DISK
    assert policies.write(ObjectName("own", "ann/a"), None, size=2000).ack is Ack.ALT
    assert policies.write(ObjectName("own", "ann/a"), Ack.BOTH, size=2000).ack is Ack.BOTH
    assert policies.write(ObjectName("own", "a"), None, visitor=Visitor(owner="ann")).ack is Ack.ALT


def test_a_rule_decides_fills_by_what_the_row_says_and_where_it_says_nothing_by_the_key() -> None:
    policies = ruled()
    small = Entry(ObjectName("own", "tmp/a"), 1, State.CLEAN, 10, "e", 0.0)
    assert policies.fill(small.name, small) is FillPolicy.NEVER, "its pattern"
    ann = replace(small, name=ObjectName("own", "ann/tmp"))
    assert policies.fill(ann.name, ann) is FillPolicy.ALWAYS
    assert policies.fill(ann.name, replace(ann, owner="bob", folder="", size=2000)) is FillPolicy.NEVER
    policies.rules = RuleSet()
    assert policies.fill(ann.name, replace(ann, size=2000)) is FillPolicy.ALWAYS, "the bucket"

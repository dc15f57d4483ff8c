"""Rule files on a running node: what is good comes in force, what is not changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.purge.bench import LARGE_GO, bench, until
from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import DiskSection, PurgeSection
from tierproxy.config.values import Duration, Share, Size
from tierproxy.purge.live import ALARM
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.rig import config_for, rig

OTHER = """
[budget]
max_bytes = "7MiB"

[budget.bucket.mail]
max_bytes = "2MiB"

[[rule]]
name = "stay"
then = "keep"
"""
NEVER = '[[rule]]\nname = "all"\nthen = "purge"\n\n[[rule]]\nname = "large"\nwhen = { size = "> 1x" }\nthen = "purge"\n'


async def test_the_file_is_in_force_from_the_start_as_a_version(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        live = b.rig.parts.purges.live
        assert [rule.name for rule in live.in_force.rules.rules] == ["drafts stay", "large"]
        (version,) = b.rig.parts.catalogue.versions("live", 9)
        assert (version.number, version.author, version.text) == (live.in_force.number, "file", LARGE_GO)
        assert version.live_at is not None
        assert b.rig.parts.policies.rules is live.in_force.rules


async def test_a_changed_file_comes_in_force_with_its_budget(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        live, space = b.rig.parts.purges.live, b.rig.parts.space
        before = space.settings
        b.file.write_text(OTHER)
        await b.clock.advance(0)
        await live.look()
        assert live.in_force.number == 2
        assert space.settings == replace(before, max_bytes=Size(7 * 2**20))
        assert space.budgets == {"mail": 2 * 2**20}
        b.file.write_text(LARGE_GO)
        await live.look()
        assert (space.settings, dict(space.budgets)) == (before, {})
        assert live.in_force.number == 3, "an old text again is a version of its own"


async def test_the_same_text_is_the_same_version_after_a_restart(tmp_path: Path) -> None:
    alt, clock = MemoryAlt(), VirtualClock()
    async with bench(tmp_path / "d", alt=alt, clock=clock):
        pass
    async with bench(tmp_path / "d", alt=alt, clock=clock) as b:
        assert len(b.rig.parts.catalogue.versions("live", 9)) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (NEVER, "line 7"),
        ("", "empty"),
        ('[[rule]]\nname = "x"\nwhen = { sise = "> 1" }\nthen = "purge"\n', "line 3"),
        ("[[rule]\n", "line 1"),
        ('[budget]\nhigh_water = 0.5\n[pressure]\norder = "lru"\n', "low_water"),
    ],
    ids=["bad unit", "empty", "unknown field", "no TOML", "against the configuration"],
)
async def test_a_file_that_is_not_good_keeps_the_old_rules_and_names_file_line_and_fix(
    tmp_path: Path, text: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(tmp_path / "d") as b:
        live = b.rig.parts.purges.live
        old = live.in_force
        b.file.write_text(text)
        await live.look()
        assert live.in_force is old
        assert b.alarms() == [(ALARM, str(b.file))]
        (record,) = [record for record in caplog.records if record.message == ALARM]
        facts = str(record.__dict__)
        assert said in facts
        assert str(b.file) in facts
        b.file.write_text(OTHER)
        await live.look()
        assert (b.alarms(), live.in_force.number) == ([], 2)


async def test_a_file_that_is_still_wrong_after_an_edit_says_what_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(tmp_path / "d") as b:
        live = b.rig.parts.purges.live
        b.file.write_text("[[rule]\n")
        await live.look()
        b.file.write_text('[[rule]]\nname = "x"\nthen = "stay here"\n')
        await live.look()
        (record,) = [record for record in caplog.records if record.message == "rules still not usable"]
        assert "stay here" in str(record.__dict__)
        assert b.alarms() == [(ALARM, str(b.file))]


async def test_a_file_that_goes_away_keeps_the_old_rules_and_is_an_alarm(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        live = b.rig.parts.purges.live
        b.file.unlink()
        await live.look()
        assert b.alarms() == [(ALARM, str(b.file))]
        assert live.in_force.number == 1
        b.file.write_text(LARGE_GO)
        await live.look()
        assert b.alarms() == []
        assert live.in_force.number == 1


async def test_a_start_with_a_bad_file_works_by_the_last_good_version(tmp_path: Path) -> None:
    alt, clock = MemoryAlt(), VirtualClock()
    async with bench(tmp_path / "d", OTHER, alt=alt, clock=clock):
        pass
    async with bench(tmp_path / "d", NEVER, alt=alt, clock=clock) as b:
        assert b.rig.parts.purges.live.in_force.rules.rules[0].name == "stay"
        assert b.rig.parts.space.budgets == {"mail": 2 * 2**20}
        assert b.alarms() == [(ALARM, str(b.file))]


async def test_a_first_start_with_a_bad_file_works_without_rules(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", NEVER) as b:
        assert b.rig.parts.purges.live.in_force.number == 0
        assert b.alarms() == [(ALARM, str(b.file))]


async def test_a_configuration_that_names_no_file_any_more_works_without_rules(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", OTHER) as b:
        live = b.rig.parts.purges.live
        config = config_for(b.rig.root)
        b.rig.node.reload(config)
        await live.look()
        assert live.in_force.number == 0
        assert b.rig.parts.space.settings == config.disk


async def test_a_reload_of_the_configuration_keeps_the_budget_of_the_rules(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", OTHER) as b:
        purge = PurgeSection(rules=str(b.file))
        disk = DiskSection(max_bytes=Size(2**30), low_water=0.7, min_free=Share(bytes=5))
        b.rig.node.reload(config_for(b.rig.root, purge=purge, disk=disk))
        assert b.rig.parts.space.settings == replace(disk, max_bytes=Size(7 * 2**20))


async def test_the_file_is_looked_at_every_watch_seconds(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        live = b.rig.parts.purges.live
        await until(lambda: b.clock.sleeping > 0)
        b.file.write_text(OTHER)
        while live.in_force.number == 1:
            await b.clock.advance(60)
        assert live.in_force.number == 2


# ---------------------------------------------------------------- the shadow


async def test_a_shadow_begins_when_its_file_appears_and_ends_when_it_goes(tmp_path: Path) -> None:
    shadow = tmp_path / "shadow.toml"
    async with bench(tmp_path / "d", purge=PurgeSection(shadow=str(shadow), max_objects_per_second=0)) as b:
        live, catalogue = b.rig.parts.purges.live, b.rig.parts.catalogue
        assert await catalogue.shadow() is None
        assert b.alarms() == []
        shadow.write_text(OTHER)
        await live.look()
        assert live.shadow is not None
        record = await catalogue.shadow()
        assert record is not None
        assert [version.text for version in catalogue.versions("shadow", 9)] == [OTHER]
        shadow.write_text(NEVER)
        await live.look()
        assert live.shadow.rules.text == OTHER
        assert b.alarms() == [(ALARM, str(shadow))]
        shadow.unlink()
        await live.look()
        assert await catalogue.shadow() is None
        assert b.alarms() == []


async def test_a_shadow_goes_on_after_a_restart(tmp_path: Path) -> None:
    alt, clock, shadow = MemoryAlt(), VirtualClock(), tmp_path / "shadow.toml"
    shadow.write_text(OTHER)
    purge = PurgeSection(shadow=str(shadow), watch=Duration(60))
    began = clock.now()
    async with bench(tmp_path / "d", alt=alt, clock=clock, purge=purge):
        pass
    clock.jump_wall(5000)
    async with bench(tmp_path / "d", alt=alt, clock=clock, purge=purge) as b:
        record = await b.rig.parts.catalogue.shadow()
        assert record is not None
        assert record.since < began + 100


async def test_the_shadow_rules_purge_the_shadows_disk_only(tmp_path: Path) -> None:
    shadow = tmp_path / "shadow.toml"
    shadow.write_text(LARGE_GO)
    purge = PurgeSection(shadow=str(shadow), max_objects_per_second=0)
    async with bench(tmp_path / "d", '[pressure]\norder = "lru"\n', purge=purge) as b:
        await b.mails(3)
        await b.rig.put("small", b"s")
        b.rig.parts.purges.shadow._last -= 3600
        await b.rig.parts.purges.shadow.look()
        b.rig.parts.purges.shadow._last -= 3600
        await b.rig.parts.purges.shadow.look()
        record = await b.rig.parts.catalogue.shadow()
        assert record is not None
        assert (record.live_objects, record.shadow_objects) == (4, 1)
        assert record.shadow["rule:large"].objects == 3
        assert len(b.on_disk()) == 4


async def test_without_rule_files_nothing_is_watched(tmp_path: Path) -> None:
    async with rig(tmp_path / "d", clock=VirtualClock()) as r:
        assert r.parts.purges.live.in_force.number == 0
        assert r.parts.catalogue.versions("live", 9) == []

"""Patterns for keys that a client could make slow are refused."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tierproxy.cli.program import app
from tierproxy.config.sections import NamingSection
from tierproxy.errors import ConfigError
from tierproxy.mail.probes import LONGEST, _keys, refuse_slow, slow_key
from tierproxy.testing.rig import rig

SOUND = (
    "mail/(?P<owner>[^/]+)/(?P<folder>[^/]+)/.*",
    r"(?P<owner>[^/@]+@[^/]+)/(.*/)?(?P<folder>[^/]+)/u\.[0-9]+",
    r"v1/(?P<owner>\w+)/[0-9a-f]{2}/[0-9]+\.eml",
)
SLOW = (
    r"(?P<owner>(a+)+)/x",
    r"mail/(?P<owner>([a-z0-9]+\.?)+)@x/.*",
    r"(?P<owner>(.*)*)z",
    r"Q(?P<owner>(Q|QQ)+)!x",
    r"(?P<owner>.*)/(?P<folder>.*)/.*/.*/.*/.*x",
)


@pytest.mark.parametrize("pattern", SOUND)
def test_a_sound_pattern_is_let_through(pattern: str) -> None:
    assert slow_key(pattern) is None


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_that_a_key_can_keep_busy_is_refused_before_it_does(pattern: str) -> None:
    with pytest.raises(ConfigError, match="number 2") as refused:
        refuse_slow([NamingSection(pattern=SOUND[0]), NamingSection(pattern=pattern)])
    assert refused.value.hint


def test_keys_are_as_long_as_keys_get_and_no_longer() -> None:
    lengths = {len(key) for key in _keys("mail/(?P<owner>.*)")}
    assert max(lengths) == LONGEST
    assert min(lengths) < 10


def test_what_counts_is_the_time_of_this_thread() -> None:
    ticking = count(0.0, 0.2)
    assert slow_key(SOUND[0], lambda: next(ticking)) is not None


async def test_a_node_does_not_start_with_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes longer"):
        async with rig(tmp_path, naming=(NamingSection(pattern=SLOW[0]),)):
            pass


def test_the_check_of_a_configuration_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILSTORE_SECRET", "s" * 32)
    file = tmp_path / "tierproxy.toml"
    made = CliRunner().invoke(app, ["config", "describe", "--example"])
    file.write_text(made.stdout + f"\n[[naming]]\npattern = '{SLOW[0]}'\n")
    result = CliRunner().invoke(app, ["config", "check", "--config", str(file)])
    assert result.exit_code != 0
    assert "takes longer" in result.output

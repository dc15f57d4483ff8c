"""The annotated file and the documentation say what the declarations say, and secrets stay inside."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.config.describe import EXAMPLE, annotated, document, values
from tierproxy.config.load import load
from tierproxy.config.reload import reloaded
from tierproxy.config.schema import quoted, tables, walk
from tierproxy.config.sections import AltSection, BucketSection, Config, DiskSection, KeySection, PolicySection
from tierproxy.config.values import (
    Duration,
    Share,
    Size,
    parse_duration,
    parse_share,
    parse_size,
    show_duration,
    show_share,
    show_size,
)
from tierproxy.model import Ack, FillPolicy

ENVIRONMENT = {"MAILSTORE_SECRET": "a-secret-of-enough-letters"}

RICH = Config(
    alt=AltSection(endpoint="http://127.0.0.1:8333", access_key_id="B", secret_access_key="alt-hush"),
    disk=DiskSection(max_bytes=Size(123456789), min_free=Share(bytes=5 * 2**30), low_water=0.5),
    bucket=(
        BucketSection(
            name="mail",
            alt_prefix='odd "quoted" \\ näme/',
            revalidate=Duration(1.5),
            exclusive=False,
            policy=(PolicySection(key="*.index", ack=Ack.DISK), PolicySection(key="[ab]*", fill=FillPolicy.NEVER)),
        ),
        BucketSection(name="more", ack=Ack.ALT),
    ),
    key=(
        KeySection(access_key_id="A", secret="key-hush", buckets=("mail/alice", "more"), access="read"),
        KeySection(access_key_id="C", secret_env="MAILSTORE_SECRET"),
    ),
)


def without_comments(text: str) -> str:
    """Every default that is commented out, in force."""
    return re.sub(r"^# (\w+ = .*|\[\[?[\w.]+\]\]?)$", r"\1", text, flags=re.MULTILINE)


def unmasked(text: str) -> str:
    return text.replace('# secret = "****"', 'secret = "key-hush"').replace(
        '# secret_access_key = "****"', 'secret_access_key = "alt-hush"'
    )


def test_the_file_in_the_repository_is_the_generated_one() -> None:
    assert Path("config/tierproxy.toml").read_text() == annotated(EXAMPLE), "run make docs"


def test_the_documentation_in_the_repository_is_the_generated_one() -> None:
    assert Path("docs/configuration.md").read_text() == document(), "run make docs"


def test_the_file_in_the_repository_loads() -> None:
    config = load(Path("config/tierproxy.toml"), ENVIRONMENT)
    assert config == replace(EXAMPLE, key=(replace(EXAMPLE.key[0], secret=ENVIRONMENT["MAILSTORE_SECRET"]),))


def test_what_describe_prints_loads_as_the_same_configuration(tmp_path: Path) -> None:
    path = tmp_path / "described.toml"
    path.write_text(unmasked(annotated(RICH)))
    path.chmod(0o600)
    loaded = load(path, ENVIRONMENT)
    assert replace(loaded, key=(loaded.key[0], replace(loaded.key[1], secret=""))) == RICH


def test_every_default_that_is_commented_out_is_the_default() -> None:
    shown = tomllib.loads(without_comments(annotated(Config())))
    for table in walk(tables()):
        if not table.array:
            assert list(shown[table.name]) == [option.name for option in table.options]
    uncommented = {name: section for name, section in shown.items() if isinstance(section, dict)}
    plain = tomllib.loads(annotated(Config()))
    assert all(section == {} for section in plain.values()), "nothing that is a default is in force"
    assert uncommented["disk"]["max_bytes"] == "10GiB"


def test_no_secret_is_described(tmp_path: Path) -> None:
    for text in (annotated(RICH), json.dumps(values(RICH)), repr(RICH)):
        assert "hush" not in text
    assert values(RICH)["alt"]["secret_access_key"] == "****"


def test_values_for_scripts_are_plain() -> None:
    found = json.loads(json.dumps(values(RICH)))
    assert found["disk"]["max_bytes"] == 123456789
    assert found["disk"]["min_free"] == "5GiB"
    assert found["bucket"][0]["policy"][0] == {"key": "*.index", "ack": "disk", "fill": None}


def test_every_option_is_explained_in_file_and_documentation() -> None:
    text, page = annotated(EXAMPLE), document()
    for table in walk(tables()):
        assert f"## `{table.header}`" in page
        assert table.help
        for option in table.options:
            assert len(option.help) > 5
            assert f"| `{option.name}` |" in page
            assert re.search(rf"^(# )?{option.name} = ", text, flags=re.MULTILINE)


def test_a_reload_takes_what_it_may_and_names_the_rest() -> None:
    fresh = replace(
        RICH,
        disk=replace(RICH.disk, max_bytes=Size(2**30), threads=3),
        write=replace(RICH.write, ack=Ack.DISK),
        key=(),
    )
    result = reloaded(RICH, fresh)
    assert result.changed == ("disk.max_bytes", "write.ack")
    assert result.waiting == ("disk.threads", "key")
    assert result.config.disk.max_bytes == 2**30
    assert result.config.disk.threads == RICH.disk.threads
    assert result.config.key == RICH.key


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_toml(text: str) -> None:
    assert tomllib.loads(f"x = {quoted(text)}")["x"] == text


def test_a_size_is_written_in_the_units_it_was_meant_in() -> None:
    assert [show_size(size) for size in (48_000_000, 64 * 2**20, 750_000_000, 2**40, 1500, 1023)] == [
        "48MB", "64MiB", "750MB", "1TiB", "1500", "1023",
    ]  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**60))
def test_any_size_is_written_exactly(size: int) -> None:
    assert parse_size(show_size(size)) == size
    assert parse_share(show_share(Share(bytes=size))) == Share(bytes=size)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 10**10))
def test_any_duration_in_milliseconds_is_written_exactly(milliseconds: int) -> None:
    assert round(parse_duration(show_duration(milliseconds / 1000)) * 1000) == milliseconds

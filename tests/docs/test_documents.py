"""What the documents say can be done, can be done."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tierproxy.cli.outcome import MEANINGS
from tierproxy.cli.program import app
from tierproxy.config.load import examine
from tierproxy.config.schema import tables
from tierproxy.store.check import Kind

README = Path("README.md").read_text()
OPERATIONS = Path("docs/operations.md").read_text()
MAKEFILE = Path("Makefile").read_text()
GROUPS = {"admin", "queue", "catalogue", "config", "dovecot", "history", "import", "rules"}
PAGES = [Path("README.md"), Path("CHANGELOG.md"), *sorted(Path("docs").rglob("*.md"))]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, flags=re.MULTILINE))


def commands(group: Any = None, name: str = "") -> set[str]:
    """Every command as ``queue list``."""
    group = group or typer.main.get_command(app)
    found: set[str] = set()
    for word, command in group.commands.items():
        found |= commands(command, f"{name}{word} ") if hasattr(command, "commands") else {f"{name}{word}"}
    return found


def test_the_readme_begins_with_the_two_commands() -> None:
    head = README[: README.index("## ")]
    assert re.findall(r"^    make (\w+)", head, flags=re.MULTILINE) == ["run", "test"]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"(?:`|^    )make ([a-z0-9-]+)", page.read_text(), flags=re.MULTILINE))
    assert named <= targets()


def test_every_extra_that_is_named_exists() -> None:
    known = set(tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"])
    named = {name for page in PAGES for name in re.findall(r"tierproxy\[([a-z]+)\]", page.read_text())}
    assert {"mount", "otel"} <= named <= known


def test_every_target_is_explained_by_make() -> None:
    explained = set(re.findall(r"^([a-z0-9-]+):.*## ", MAKEFILE, flags=re.MULTILINE))
    assert explained == targets()


def test_every_command_that_is_named_exists() -> None:
    known = commands()
    first_words = {command.split()[0] for command in known}
    for page in PAGES:
        for line in re.findall(r"(?:`|^    (?:\.venv/bin/)?)tierproxy ([a-z ]+)", page.read_text(), flags=re.MULTILINE):
            words = line.split()
            assert words[0] in first_words, f"{page}: tierproxy {line}"
            if words[0] in GROUPS and len(words) > 1:
                assert " ".join(words[:2]) in known, f"{page}: tierproxy {line}"


def test_every_link_to_a_file_leads_somewhere() -> None:
    later = {"docs/semantics.md", "docs/s3-compatibility.md", "docs/architecture.md", "docs/benchmarks.md"}
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists() or str(page.parent / target) in later, f"{page}: {target}"


def anchors(page: Path) -> set[str]:
    """What links may name after ``#``: the headings, as git hosts write them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_to_a_heading_leads_to_one() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
            assert anchor in anchors(page.parent / target if target else page), f"{page}: {target}#{anchor}"


def test_exit_codes_in_the_documentation_are_those_of_the_program() -> None:
    rows = dict(re.findall(r"^\| (\d) \| (.+) \|$", OPERATIONS, flags=re.MULTILINE))
    assert rows == {str(code.value): meaning for code, meaning in MEANINGS.items()}


def alarms_of(source: str) -> set[str]:
    """The alarms a file raises, by a literal or by a constant of its own."""
    named = re.findall(r"alarms\.set\(\s*([A-Z_]+)", source)
    constants = [re.findall(rf'^{name} = "([^"]+)"', source, flags=re.MULTILINE) for name in named]
    return {*re.findall(r'alarms\.set\(\s*"([^"]+)"', source), *(text for texts in constants for text in texts)}


def test_every_alarm_is_documented() -> None:
    alarms = set().union(*(alarms_of(path.read_text()) for path in Path("tierproxy").rglob("*.py")))
    assert len(alarms) >= 5
    assert [alarm for alarm in alarms if f"| `{alarm}` |" not in OPERATIONS] == []


def test_everything_check_can_find_is_documented() -> None:
    assert [kind.value for kind in Kind if f"`{kind.value}`" not in OPERATIONS] == []


def snippets(page: str) -> list[str]:
    return re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)


def test_the_configurations_in_the_readme_load(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a-secret-of-enough-letters")
    secret.chmod(0o600)
    base, *alts = (re.sub(r"/etc/tierproxy/\w+\.secret", str(secret), text) for text in snippets(README))
    assert len(alts) == 5, "AWS, MinIO, Ceph, SeaweedFS, Garage"
    for alt in alts:
        assert list(tomllib.loads(alt)) == ["alt"]
        path = tmp_path / "tierproxy.toml"
        path.write_text(base + alt)
        assert examine(path, {}).warnings == ()


def test_options_named_in_the_operations_page_exist() -> None:
    known = {(table.header, option.name) for table in tables() for option in table.options}
    named = re.findall(r"`(\[\w+\]) (\w+)`", OPERATIONS)
    assert named
    assert set(named) <= known


def test_the_dockerfile_names_ports_volume_and_user() -> None:
    text = Path("Dockerfile").read_text()
    assert "EXPOSE 9300 9301" in text
    assert "VOLUME /var/lib/tierproxy" in text
    assert re.search(r"^USER tierproxy$", text, flags=re.MULTILINE)
    assert "/-/health" in text


def test_the_container_needs_no_more_than_the_readme_gives_it(tmp_path: Path) -> None:
    given = dict.fromkeys(re.findall(r"-e ([A-Z_]+)=", README), "a-value-of-enough-letters-for-a-secret-too")
    assert "MAILSTORE_SECRET" in given
    found = examine(Path("config/tierproxy.toml"), given | {"TIERPROXY_ALT_ENDPOINT": "http://minio:9000"})
    assert found.warnings == ()
    assert [bucket.name for bucket in found.config.bucket] == ["mail"]
    assert found.config.alt.access_key_id == found.config.key[0].secret == given["MAILSTORE_SECRET"]


def test_the_changelog_has_the_version_of_the_package() -> None:
    version = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]
    assert f"## [{version}]" in Path("CHANGELOG.md").read_text()


def test_ci_runs_what_the_readme_says() -> None:
    text = Path(".ci/run").read_text()
    assert "make --no-print-directory test" in text
    assert "export CI=true" in text

"""What a release is made of: locked with hashes, listed with licences, audited where that can be done, in an image
without more than it needs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, "release")  # scripts beside the package, as loadtests are
import audit
import sbom

LOCK = Path("release/requirements.txt").read_text()
CONSTRAINTS = Path("release/constraints.txt").read_text()
DOCKERFILE = Path("Dockerfile").read_text()
PROJECT: dict[str, Any] = tomllib.loads(Path("pyproject.toml").read_text())["project"]

COMPATIBLE = re.compile(
    r"Apache-2\.0|Apache Software License|Apache License.*|MIT|MIT License|MIT-0|BSD|BSD License|BSD-[23]-Clause|0BSD|"
    r"ISC|ISC License.*|PSF-2\.0|Python-2\.0|Python Software Foundation License|MPL-2\.0|Mozilla Public License.*|"
    r"Unlicense|The Unlicense.*|Zlib|CC0-1\.0|License :: OSI Approved :: (Apache|MIT|BSD|ISC|Python|Mozilla).*"
)
"""Licences that may stand beside Apache-2.0 in one program that is passed on; MPL-2.0 by file."""


@pytest.fixture(scope="module")
def bom(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    target = tmp_path_factory.mktemp("dist") / "bom.json"
    done = subprocess.run(
        [sys.executable, "release/sbom.py", str(target)], capture_output=True, text=True, check=False, timeout=240
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(target.read_text())
    return found


def needed() -> set[str]:
    """Everything that tierproxy needs to run here, by walking what is installed."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    waiting = [Requirement(text) for text in PROJECT["dependencies"]]
    while waiting:
        one = waiting.pop()
        name = sbom.normalized(one.name)
        extras = one.extras or {""}
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        place = f"{name}[{','.join(sorted(one.extras))}]"
        if place in found:
            continue
        found |= {name, place}
        for text in distribution(one.name).requires or []:
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                inner.marker = None
                waiting.append(inner)
    return {name for name in found if "[" not in name}


def test_everything_that_is_needed_is_locked() -> None:
    assert needed() == set(sbom.locked(LOCK))


def test_every_pin_has_hashes() -> None:
    for text in (LOCK, Path("release/build.txt").read_text()):
        entries = re.split(r"\n(?=\S)", text.strip())
        assert entries
        for entry in entries:
            assert re.match(r"[A-Za-z0-9._-]+==\S+", entry), entry
            assert "--hash=sha256:" in entry


def test_the_lock_is_of_these_dependencies() -> None:
    """Whoever changes pyproject.toml locks anew (`make lock`)."""
    from packaging.requirements import Requirement

    for lock, wanted in ((sbom.locked(LOCK), PROJECT["dependencies"]), (sbom.locked(CONSTRAINTS), _of_contributors())):
        for text in wanted:
            one = Requirement(text)
            if one.name != "tierproxy" and (one.marker is None or one.marker.evaluate()):
                assert one.specifier.contains(lock[sbom.normalized(one.name)], prereleases=True), text


def _of_contributors() -> list[str]:
    return [text for group in PROJECT["optional-dependencies"].values() for text in group]


def test_tests_run_with_what_is_released() -> None:
    """The constraints of `make test` are the lock's, and more."""
    assert sbom.locked(LOCK).items() <= sbom.locked(CONSTRAINTS).items()


def test_the_bill_is_complete(bom: dict[str, Any]) -> None:
    lock = sbom.locked(LOCK)
    assert {sbom.normalized(one["name"]): one["version"] for one in bom["components"]} == lock
    assert sbom.faults(bom, lock) == []
    root = bom["metadata"]["component"]
    assert (root["name"], root["version"]) == ("tierproxy", PROJECT["version"])
    refs = {one["bom-ref"] for one in bom["components"]} | {root["bom-ref"]}
    assert {one["ref"] for one in bom["dependencies"]} == refs
    assert {ref for one in bom["dependencies"] for ref in one.get("dependsOn", [])} <= refs
    direct = next(one for one in bom["dependencies"] if one["ref"] == root["bom-ref"])
    assert len(direct["dependsOn"]) == len(PROJECT["dependencies"])


def test_the_bill_names_no_place_of_this_machine(bom: dict[str, Any]) -> None:
    text = json.dumps(bom)
    for place in {str(Path.cwd()), str(Path.home()), sys.prefix} - {"/", "/root"}:
        assert place not in text


def test_every_licence_may_stand_beside_ours(bom: dict[str, Any]) -> None:
    wrong = {one["name"]: sbom.licences(one) for one in bom["components"] if not _fits(sbom.licences(one))}
    assert wrong == {}


def _fits(found: list[str]) -> bool:
    """Of alternatives one is enough; of licences for parts each counts."""
    words = [word for text in found for word in re.split(r" AND | and |; ", text.replace("(", "").replace(")", ""))]
    return bool(words) and all(
        any(COMPATIBLE.fullmatch(option.strip()) for option in re.split(r" OR | or ", word)) for word in words
    )


def test_a_bill_that_is_not_of_the_lock_is_refused(bom: dict[str, Any]) -> None:
    lock = sbom.locked(LOCK)
    first = bom["components"][0]
    name = sbom.normalized(first["name"])
    assert sbom.faults(bom, lock | {"another": "1"}) == ["another 1: not installed here"]
    assert sbom.faults(bom, lock | {name: "0.0.1"}) == [f"{name}: {first['version']} is installed, 0.0.1 is locked"]
    bare = bom | {"components": [{key: value for key, value in first.items() if key not in {"licenses", "purl"}}]}
    assert len(sbom.faults(bare, {name: first["version"]})) == 2
    with pytest.raises(SystemExit, match="not valid CycloneDX"):
        sbom.validate('{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"nonsense": 1}]}')


# ---------------------------------------------------------------- audit


def test_an_audit_that_reaches_nobody_says_so() -> None:
    """And is no success."""
    environment = {
        **os.environ,
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
        "NO_PROXY": "",
    }
    done = subprocess.run(
        [sys.executable, "release/audit.py"], capture_output=True, text=True, check=False, timeout=240, env=environment
    )  # fmt: skip
    assert done.returncode == audit.UNREACHABLE, done.stdout + done.stderr
    assert "NOT AUDITED: the vulnerability service (pypi) cannot be reached" in done.stderr


def test_what_nobody_has_looked_at_is_not_well() -> None:
    """A mirror of an index that knows packages and no vulnerabilities: pip-audit calls that a success."""
    sound: dict[str, Any] = {"name": "a", "version": "1", "vulns": []}
    unknown: dict[str, Any] = {"name": "b", "skip_reason": "Dependency not found on PyPI"}
    broken: dict[str, Any] = {"name": "c", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1"]}]}
    for packages, code, word in (
        ([sound], 0, "1 of 1 packages audited"), ([sound, unknown], audit.UNREACHABLE, "NOT AUDITED"),
        ([sound, broken], audit.FOUND, "c 2: CVE-1, mended in 2.1"), ([broken, unknown], audit.UNREACHABLE, "CVE-1"),
    ):  # fmt: skip
        found, lines = audit.judged(packages)
        assert found == code
        assert word in "\n".join(lines)


def test_a_project_s_page_speaks_for_its_newest_version_alone() -> None:
    accepted = next(iter(audit.ACCEPTED))
    pages: dict[str, Any] = {
        "sound": {"info": {"version": "1"}, "vulnerabilities": []},
        "broken": {"info": {"version": "1"}, "vulnerabilities": [
            {"id": "GHSA-1", "aliases": ["CVE-1"], "fixed_in": ["2"]}, {"id": "GHSA-2", "aliases": [accepted]},
            {"id": "GHSA-3", "withdrawn": "2026-01-01T00:00:00Z"},
        ]},
        "capped": {"info": {"version": "2"}, "vulnerabilities": []}, "silent": None,
        "python-dateutil": {"info": {"version": "4.0.1"}, "vulnerabilities": []},
    }  # fmt: skip
    known = {"name": "known", "version": "1", "vulns": []}
    skipped = [{"name": name, "skip_reason": "not found"} for name in pages]
    found = audit.looked_up([known, *skipped], dict.fromkeys(pages, "1"), pages.__getitem__)
    assert found == [
        known, {"name": "sound", "version": "1", "vulns": []},
        {"name": "broken", "version": "1", "vulns": [{"id": "GHSA-1", "fix_versions": ["2"]}]}, *skipped[2:],
    ]  # fmt: skip
    assert audit.judged(found)[0] == audit.UNREACHABLE
    assert audit.judged(found[:3])[0] == audit.FOUND


def test_what_was_mended_after_a_version_that_is_kept_back_was_read() -> None:
    """And only that: the newest version's own vulnerabilities count, and a newer one has to be read again."""
    for (name, version, newest), why in audit.READ.items():
        assert f"{name}=={version}" in LOCK, "take the entry out"
        assert why
        page: dict[str, Any] = {"info": {"version": newest}, "vulnerabilities": []}
        assert audit.flaws_of(page, name, version) == []
        page["vulnerabilities"].append({"id": "CVE-1"})
        assert audit.flaws_of(page, name, version) == [{"id": "CVE-1", "fix_versions": []}]
        page["info"]["version"] += ".1"
        assert audit.flaws_of(page, name, version) is None


def test_what_is_accepted_is_not_used() -> None:
    """Each exception of the audit has a reason that a test holds."""
    assert set(audit.ACCEPTED) == {"CVE-2025-69872"}, "add a test with the exception"
    source = Path("tierproxy/stubs/database.py").read_text()
    assert "CVE-2025-69872" in source
    assert "disk=PlainDisk" in source


# ---------------------------------------------------------------- the image


def instructions(stage: int) -> list[str]:
    """Of a stage of the Dockerfile, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#")))
    stages = re.split(r"(?m)^(?=FROM )", text)
    return stages[stage].splitlines()


def test_the_image_is_of_what_is_locked() -> None:
    installs = [line for line in instructions(1) if "pip install" in line]
    for line in installs:
        for command in line.split("&&"):
            if "pip install" in command:
                assert "--require-hashes" in command or "--no-index" in command, command
    assert not [line for line in instructions(2) if "pip " in line], "the image has no installer to run"
    assert re.search(r"^ARG BASE=\S+:3\.11-slim-\w+$", DOCKERFILE, flags=re.MULTILINE)
    assert ":latest" not in DOCKERFILE


def test_the_image_runs_as_nobody_special_and_holds_no_secret() -> None:
    last = instructions(2)
    user = last.index("USER tierproxy")
    assert not [line for line in last[user:] if line.startswith(("RUN", "COPY", "ADD"))]
    assert not re.search(r"(?im)^\s*(ARG|ENV)\b.*(secret|password|token)", DOCKERFILE)
    assert not re.search(r"(?m)^ADD ", DOCKERFILE)
    assert [line for line in last if line.startswith("HEALTHCHECK")]
    assert "--mode=0700" in DOCKERFILE


def test_the_build_sees_nothing_that_is_not_needed() -> None:
    lines = Path(".dockerignore").read_text().split()
    assert lines[0] == "*"
    copied = {word for line in instructions(1) if line.startswith("COPY") for word in line.split()[1:-1]}
    copied |= {"config/tierproxy.toml"}
    assert {line[1:] for line in lines if line.startswith("!")} == copied

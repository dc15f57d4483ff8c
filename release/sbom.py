"""The software bill of materials of a release: CycloneDX 1.6 (JSON), of tierproxy and all that it needs to run.

    python release/sbom.py [FILE]      # default: dist/tierproxy-VERSION.cdx.json

What is installed says names, licences and who needs whom (``cyclonedx-py environment``); ``requirements.txt`` says
which of it is in a release, and in which version. Both must agree: this is for what was tested, not for what would be
installed somewhere today. Exit code 1 when they do not, or when something has no licence.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "release" / "requirements.txt"
NAME = "tierproxy"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)([^\\\n]*)", re.MULTILINE)

Bom = dict[str, Any]


def normalized(name: str) -> str:
    """As package indexes compare names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(text: str) -> dict[str, str]:
    """Version by name, of what this platform needs."""
    found = {}
    for name, number, rest in PIN.findall(text):
        marker = rest.partition(";")[2].strip()
        if not marker or Marker(marker).evaluate():
            found[normalized(name)] = number
    return found


def everything() -> Bom:
    """Of this environment, tools of contributors included."""
    command = [
        sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(ROOT / "pyproject.toml"),
        "--mc-type", "application", "--spec-version", "1.6", "--output-format", "JSON", "--output-reproducible",
        "--no-validate",  # it is what comes out of here that is validated
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"cyclonedx-py failed: {done.stderr.strip()}")
    found: Bom = json.loads(done.stdout)
    return found


def released(bom: Bom, lock: dict[str, str]) -> Bom:
    """``bom`` with the components of ``lock`` alone."""
    components = [one for one in bom.get("components", []) if normalized(one["name"]) in lock]
    root = bom["metadata"]["component"]
    root["version"] = version(NAME)
    refs = {one["bom-ref"] for one in components} | {root["bom-ref"]}
    direct = {normalized(Requirement(text).name) for text in requires(NAME) or [] if "extra ==" not in text}
    needs = [
        one | {"dependsOn": [ref for ref in one["dependsOn"] if ref in refs]} if "dependsOn" in one else one
        for one in bom.get("dependencies", [])
        if one["ref"] in refs
    ]
    names = {one["bom-ref"]: normalized(one["name"]) for one in components}
    for one in needs:
        if one["ref"] == root["bom-ref"]:  # extras are none of a release
            one["dependsOn"] = [ref for ref in one["dependsOn"] if names[ref] in direct]
    return bom | {"components": components, "dependencies": needs}


def licences(component: Bom) -> list[str]:
    """Expressions, ids and names of licences."""
    found = []
    for one in component.get("licenses", []):
        inner = one.get("license", {})
        found.append(one.get("expression") or inner.get("id") or inner.get("name") or "")
    return [text for text in found if text]


def faults(bom: Bom, lock: dict[str, str]) -> list[str]:
    """What keeps it from being a bill of this lock."""
    there = {normalized(one["name"]): one for one in bom["components"]}
    found = [f"{name} {number}: not installed here" for name, number in lock.items() if name not in there]
    for name, one in there.items():
        if one["version"] != lock[name]:
            found.append(f"{name}: {one['version']} is installed, {lock[name]} is locked")
        if not licences(one):
            found.append(f"{name} {one['version']}: no licence")
        if not one.get("purl"):
            found.append(f"{name} {one['version']}: no package URL")
    return found


def validate(text: str) -> None:
    """Against the schema of CycloneDX. Raises SystemExit."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        raise SystemExit(f"not valid CycloneDX: {error}")


def main(arguments: list[str]) -> int:
    target = Path(arguments[0]) if arguments else ROOT / "dist" / f"{NAME}-{version(NAME)}.cdx.json"
    lock = locked(LOCK.read_text(encoding="utf-8"))
    bom = released(everything(), lock)
    text = json.dumps(bom, indent=1, sort_keys=True) + "\n"
    validate(text)
    wrong = faults(bom, lock)
    for line in wrong:
        sys.stderr.write(f"{line}\n")
    if wrong:
        sys.stderr.write(
            "pip install --requirement release/requirements.txt installs what is locked, `make lock` locks anew\n"
        )
        return 1
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{target}: {len(bom['components'])} components, CycloneDX 1.6\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

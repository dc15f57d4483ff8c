"""Known vulnerabilities in what a release is made of: pip-audit on ``requirements.txt``.

    python release/audit.py [--service pypi|osv]

Some mirrors answer for a project and not for one version of it. What a project's page says is about its newest version
(PyPI's JSON API, "Get a project": ``vulnerabilities``), so it counts where that is the one that is locked. What a newer
version has mended is not on it: where another package keeps one back, somebody reads what was mended (``READ``).

Exit code 0: none is known; 1: there are some (listed); 4: the service cannot be reached, or knows nothing of a package.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

from pip._internal.models.index import PyPI

LOCK = Path(__file__).parent / "requirements.txt"
LOCKED = re.compile(r"(?m)^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)")
FOUND, UNREACHABLE = 1, 4
TROUBLE = ("ConnectionError", "ServiceError", "Max retries exceeded", "ProxyError", "Could not connect", "timed out")
ACCEPTED: dict[str, str] = {
    "CVE-2025-69872": "diskcache unpickles values: tierproxy stores bytes alone and loads no pickle (stubs.database)",
}
"""Why a vulnerability of a package is none of tierproxy. A test looks at each."""
READ: dict[tuple[str, str, str], str] = {
    ("python-dateutil", "2.9.0.post0", "4.0.0"): "the NEWS of 3.0.0 and 4.0.0 name no vulnerability among what they "
    "mended; gettz refuses relative paths since, and neither botocore, which keeps it below 3, nor tierproxy calls it",
}
"""Package, version that is locked, newest version: why nothing that was mended in between is a vulnerability of
tierproxy. The newest version's own still count, and the next one has to be read again."""

Page = dict[str, Any]
"""What the index says of a project: ``info.version``, the newest, and its ``vulnerabilities``."""


def command(service: str) -> list[str]:
    ignored = [word for name in ACCEPTED for word in ("--ignore-vuln", name)]
    return [
        sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--require-hashes", "--disable-pip",
        "--progress-spinner", "off", "--vulnerability-service", service, "--timeout", "15",
        "--format", "json", *ignored,
    ]  # fmt: skip


def page_of(project: str) -> Page | None:
    """None: the index does not say."""
    try:
        with urlopen(f"{PyPI.pypi_url}/{quote(project)}/json", timeout=15) as answer:  # noqa: S310 - pip's own address
            page = json.load(answer)
    except (OSError, ValueError):
        return None
    return page if isinstance(page, dict) and isinstance(page.get("vulnerabilities"), list) else None


def flaws_of(page: Page | None, project: str, version: str) -> list[Page] | None:
    """What is known of ``version``, as pip-audit says it; None: nothing is, not even that there is nothing."""
    if page is None:
        return None
    newest = page["info"]["version"]
    if newest != version and (project, version, newest) not in READ:
        return None
    return [
        {"id": flaw["id"], "fix_versions": flaw.get("fixed_in") or []}
        for flaw in page["vulnerabilities"]
        if not flaw.get("withdrawn") and not {flaw["id"], *flaw.get("aliases", ())} & ACCEPTED.keys()
    ]


def looked_up(packages: list[Page], locked: dict[str, str], page: Callable[[str], Page | None]) -> list[Page]:
    """``packages``, with what the pages of projects say where pip-audit found nothing about a version."""
    found = []
    for one in packages:
        version = locked.get(one["name"], "")
        flaws = flaws_of(page(one["name"]), one["name"], version) if "skip_reason" in one else None
        found.append(one if flaws is None else {"name": one["name"], "version": version, "vulns": flaws})
    return found


def judged(packages: list[Page]) -> tuple[int, list[str]]:
    """Exit code and lines for what is known. What was skipped is not known, whatever else is said: a mirror that knows
    no vulnerabilities answers 404 for every version, and pip-audit finds none."""
    skipped = [f"{one['name']}: {one['skip_reason']}" for one in packages if "skip_reason" in one]
    known = [
        f"{one['name']} {one['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version'}"
        for one in packages
        for flaw in one.get("vulns", [])
    ]
    lines = [*known, *skipped[:5], f"{len(packages) - len(skipped)} of {len(packages)} packages audited"]
    if skipped:
        lines.append(f"NOT AUDITED: the vulnerability service knows nothing of {len(skipped)} packages")
        return UNREACHABLE, lines
    return (FOUND if known else 0), lines


def main(arguments: list[str]) -> int:
    service = arguments[arguments.index("--service") + 1] if "--service" in arguments else "pypi"
    done = subprocess.run(command(service), capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        sys.stderr.write("".join(f"{line}\n" for line in done.stderr.splitlines()[-20:]))
        known = any(word in done.stderr for word in TROUBLE)
        reason = f"the vulnerability service ({service}) cannot be reached" if known else "pip-audit failed"
        sys.stderr.write(
            f"NOT AUDITED: {reason}; nothing is known about what is locked. Try where there is a network\n"
        )
        return UNREACHABLE
    locked = {name.lower(): version for name, version in LOCKED.findall(LOCK.read_text())}
    code, lines = judged(looked_up(json.loads(done.stdout)["dependencies"], locked, page_of))
    lines += [f"accepted: {name}, {why}" for name, why in ACCEPTED.items()]
    lines += [f"read: {name} {version}, newest {newest}: {why}" for (name, version, newest), why in READ.items()]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

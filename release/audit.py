"""Known vulnerabilities in what a release is made of: pip-audit on ``requirements.txt``.

    python release/audit.py [--service pypi|osv]

Exit code 0: none is known; 1: there are some (listed); 4: the service cannot be reached, and nothing is known.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parent / "requirements.txt"
FOUND, UNREACHABLE = 1, 4
TROUBLE = ("ConnectionError", "ServiceError", "Max retries exceeded", "ProxyError", "Could not connect", "timed out")
ACCEPTED: dict[str, str] = {
    "CVE-2025-69872": "diskcache unpickles values: tierproxy stores bytes alone and loads no pickle (stubs.database)",
}
"""Why a vulnerability of a package is none of tierproxy. A test looks at each."""


def command(service: str) -> list[str]:
    ignored = [word for name in ACCEPTED for word in ("--ignore-vuln", name)]
    return [
        sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--require-hashes", "--disable-pip",
        "--progress-spinner", "off", "--vulnerability-service", service, "--timeout", "15",
        "--format", "json", *ignored,
    ]  # fmt: skip


def judged(told: str) -> tuple[int, list[str]]:
    """Exit code and lines for what pip-audit has written as JSON. What was skipped is not known, whatever else it says:
    a mirror that knows no vulnerabilities answers 404 for every package, and pip-audit finds none."""
    packages = json.loads(told)["dependencies"]
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
    code, lines = judged(done.stdout)
    lines += [f"accepted: {name}, {why}" for name, why in ACCEPTED.items()]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""The examples in config/dovecot that the setup makes: ``python -m tests.dovecot_setup.examples`` writes them again."""

from __future__ import annotations

from pathlib import Path

from tests.dovecot_setup.machine import V23, V24
from tierproxy.dovecot.installation import File, Wish, planned
from tierproxy.dovecot.installation.texts import dovecot_settings
from tierproxy.dovecot.settings import Layout

HERE = Path("config/dovecot")
UNITS = ("tierproxy.service", "tierproxy-mount.service", "dovecot.service.d/tierproxy.conf")


def examples() -> dict[str, str]:
    """Name below config/dovecot to content."""
    found = {
        f"dovecot-{version.series}-{layout}.conf": dovecot_settings(Wish(version=version, layout=layout))
        for version in (V23, V24)
        for layout in (Layout.MAIN, Layout.ALT)
    }
    files = [step for step in planned(Wish(version=V23)).steps if isinstance(step, File)]
    found |= {f"systemd/{name}": file.text for file in files for name in UNITS if file.path.endswith(f"/{name}")}
    return found | {Path(file.path).name: file.text for file in files if file.path.endswith(".toml")}


if __name__ == "__main__":
    for name, text in examples().items():
        (HERE / name).parent.mkdir(parents=True, exist_ok=True)
        (HERE / name).write_text(text)

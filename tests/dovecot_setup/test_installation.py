"""The plan of an installation, and its examples."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.dovecot_setup.examples import HERE, examples
from tests.dovecot_setup.machine import V23, V24
from tierproxy.cli.program import PLACES
from tierproxy.config.load import examine
from tierproxy.config.sections import BucketSection, Config, KeySection, ListenSection
from tierproxy.dovecot.installation import Command, Directory, File, Secret, Wish, lacking, planned
from tierproxy.dovecot.installation.texts import bucket_lines, marked, node_config, unchanged
from tierproxy.dovecot.installation.units import mount_command
from tierproxy.dovecot.settings import Layout, Paths
from tierproxy.model import Ack
from tierproxy.mount.location import parse_location

WISH = Wish(version=V23, uid=998, gid=997)
ALT = replace(WISH, layout=Layout.ALT)
ANALYZE = shutil.which("systemd-analyze")


def file(wish: Wish, name: str) -> str:
    return next(step.text for step in planned(wish).steps if isinstance(step, File) and step.path.endswith(name))


def options(text: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", text, flags=re.MULTILINE)


def with_secret(text: str, tmp_path: Path) -> Path:
    secret = tmp_path / "mount.secret"
    secret.write_text("a-secret-of-enough-letters\n")
    secret.chmod(0o600)
    path = tmp_path / "tierproxy.toml"
    path.write_text(text.replace(WISH.secret, str(secret)))
    return path


def test_the_examples_are_what_the_setup_makes() -> None:
    for name, text in examples().items():
        assert (HERE / name).read_text() == text, f"{name}: python -m tests.dovecot_setup.examples"


def test_every_example_is_made_or_written_by_hand() -> None:
    found = {str(path.relative_to(HERE)) for path in HERE.rglob("*") if path.is_file()}
    assert {name for name in found - set(examples()) if not name.startswith("obox")} == set()


def test_the_nodes_configuration_loads_and_lacks_nothing(tmp_path: Path) -> None:
    loaded = examine(with_secret(node_config(WISH), tmp_path), {})
    assert loaded.warnings == ()
    bucket = loaded.config.bucket[0]
    assert (bucket.name, bucket.exclusive, bucket.mail_metadata, bucket.ack) == ("mail", True, True, Ack.BOTH)
    assert loaded.config.listen.unix_socket == WISH.socket
    assert list(lacking(loaded.config, WISH)) == []


def test_the_bucket_lines_alone_load(tmp_path: Path) -> None:
    for wish in (WISH, ALT):
        loaded = examine(with_secret('[node]\ndata_dir = "/x"\n\n' + bucket_lines(wish), tmp_path), {})
        assert list(lacking(loaded.config, wish)) == []


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        (Config(), ["unix_socket", "no [[bucket]] mail", "no [[key]] dovecot"]),
        (Config(bucket=(BucketSection(name="mail", exclusive=False),)), ["unix_socket", "not exclusive", "no [[key]]"]),
        (
            Config(
                listen=ListenSection(unix_socket=WISH.socket),
                bucket=(BucketSection(name="mail"),),
                key=(KeySection(access_key_id="dovecot"),),
            ),
            ["has no mail_metadata"],
        ),
    ],
    ids=["empty", "shared", "no metadata"],
)
def test_what_a_configuration_lacks_is_told(config: Config, missing: list[str]) -> None:
    found = list(lacking(config, WISH))
    assert len(found) == len(missing)
    assert all(word in line for word, line in zip(missing, found, strict=True))


def test_users_come_first_and_systemd_reads_last() -> None:
    steps = planned(WISH).steps
    assert [step.unless_user for step in steps[:2] if isinstance(step, Command)] == ["vmail", "tierproxy"]
    assert steps[-1] == Command(("systemctl", "daemon-reload"), "systemd reads the new units")
    kinds = [type(step) for step in steps]
    assert kinds.index(Secret) < kinds.index(File)


def test_the_mount_point_is_roots_and_all_else_the_mail_users() -> None:
    found = {step.path: step for step in planned(WISH).steps if isinstance(step, Directory)}
    assert (found["/srv/mail"].owner, found["/srv/mail"].mode, found["/srv/mail"].point) == ("root", 0o755, True)
    assert found["/srv"].kept
    for path in (Paths().index, Paths().control, Paths().home):
        assert (found[path].owner, found[path].mode) == ("vmail", 0o700)
    assert Paths().index not in {step.path for step in planned(ALT).steps if isinstance(step, Directory)}


def test_without_systemd_there_are_no_units() -> None:
    plan = planned(replace(WISH, systemd=False))
    text = repr(plan)
    assert "/etc/systemd" not in text
    assert "daemon-reload" not in text


def test_a_changed_file_is_not_ours() -> None:
    text = marked("a = 1\n")
    assert unchanged(text)
    assert not unchanged(text + "b = 2\n")
    assert not unchanged("a = 1\n")
    assert not unchanged("")


def test_the_dovecot_settings_are_those_of_the_version() -> None:
    assert "mail_location = " in file(WISH, "99-tierproxy.conf")
    assert "mail_driver = " in file(replace(WISH, version=V24), "99-tierproxy.conf")


def test_the_mounts_unit_lets_others_see_what_it_mounts() -> None:
    """systemd.exec(5): each of these makes a mount namespace."""
    names = set(re.findall(r"^(\w+)=", file(WISH, "tierproxy-mount.service"), flags=re.MULTILINE))
    assert not {
        name for name in names if name.startswith(("Protect", "Private", "ReadOnly", "ReadWrite", "Inaccessible"))
    }
    assert not names & {"TemporaryFileSystem", "BindPaths", "RootDirectory", "MountFlags", "DynamicUser", "ProcSubset"}
    assert {"PrivateTmp", "ProtectSystem"} <= set(
        re.findall(r"^(\w+)=", file(WISH, "tierproxy.service"), flags=re.MULTILINE)
    )


def test_order_of_the_units() -> None:
    mount, dovecot = file(WISH, "tierproxy-mount.service"), file(WISH, "dovecot.service.d/tierproxy.conf")
    assert options(mount, "After") == options(mount, "Wants") == ["tierproxy.service"]
    assert options(mount, "Requires") == options(mount, "BindsTo") == [], "the mount outlives the node"
    assert options(mount, "Type") == options(file(WISH, "/tierproxy.service"), "Type") == ["notify"]
    assert options(mount, "LoadCredential") == ["mount.secret:/etc/tierproxy/mount.secret"]
    assert options(dovecot, "After") == options(dovecot, "Requires") == ["tierproxy-mount.service"]
    assert options(dovecot, "RequiresMountsFor") == ["/srv/mail /var/lib/dovecot/index /var/lib/dovecot/control"]
    alone = file(ALT, "dovecot.service.d/tierproxy.conf")
    assert (options(alone, "Requires"), options(alone, "Wants")) == ([], ["tierproxy-mount.service"])


def test_the_mount_belongs_to_the_mail_user() -> None:
    line = options(file(WISH, "tierproxy-mount.service"), "ExecStart")[0]
    assert "--uid 998 --gid 997" in line
    assert line.startswith("/opt/tierproxy/bin/tierproxy mount unix:/run/tierproxy/s3.sock/mail /srv/mail ")


def test_the_mount_command_takes_what_the_unit_says() -> None:
    words = mount_command(WISH)
    known = {option for place in PLACES if place.name == "mount" for one in place.load().params for option in one.opts}
    assert {word for word in words if word.startswith("--")} <= known
    location = parse_location(words[2])
    assert (location.address.socket, location.bucket, location.prefix) == (WISH.socket, "mail", "")


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("wish", [WISH, ALT], ids=["main", "alt"])
def test_systemd_takes_the_units(tmp_path: Path, wish: Wish) -> None:
    program = tmp_path / "tierproxy"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    wish = replace(wish, program=str(program))
    dovecot = "[Service]\nExecStart=/bin/true\n"
    texts = {
        "tierproxy.service": file(wish, "/tierproxy.service"),
        "tierproxy-mount.service": file(wish, "tierproxy-mount.service"),
        "dovecot-tried.service": file(wish, "dovecot.service.d/tierproxy.conf") + dovecot,
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert verified(tmp_path, *texts) == ""
    (tmp_path / "tierproxy.service").write_text(
        texts["tierproxy.service"].replace("[Install]", "Nonsense=1\n[Install]")
    )
    assert "Nonsense" in verified(tmp_path, "tierproxy.service")


def verified(directory: Path, *names: str) -> str:
    """What systemd says against units of these names."""
    command = [str(ANALYZE), "verify", "--man=no", *(str(directory / name) for name in names)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return "\n".join(line for line in done.stderr.splitlines() if any(name in line for name in names))

"""``tierproxy dovecot setup``: prints, installs, and never replaces what is somebody else's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.dovecot_setup.examples import HERE
from tierproxy.cli.dovecot.carrying import Carrier
from tierproxy.cli.outcome import ExitCode
from tierproxy.cli.program import app
from tierproxy.disk.fsio import Files
from tierproxy.dovecot.commands import Answer
from tierproxy.dovecot.host import Host
from tierproxy.dovecot.installation import Command, Directory, File, Secret, Step
from tierproxy.errors import ConfigError, DiskUnavailable

DROP_IN = "etc/dovecot/conf.d/99-tierproxy.conf"
COMMON = ("--dovecot-version", "2.3.19", "--program", "/opt/tierproxy/bin/tierproxy")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "root"
    (place / "etc").mkdir(parents=True)
    (place / "etc/passwd").write_text("vmail:x:998:997::/x:/x\ntierproxy:x:996:996::/x:/x\n")
    return place


def setup(*words: object, fails: int = 0) -> Result:
    result = CliRunner().invoke(app, ["dovecot", "setup", *COMMON, *map(str, words)])
    assert result.exit_code == fails, result.output
    return result


def written(root: Path, *words: object) -> Result:
    return setup("--write", "--root", root, *words)


def files(root: Path) -> dict[str, tuple[str, int, int, int]]:
    """Content, mode and owner of every file below the root."""
    found = {}
    for path in sorted(one for one in root.rglob("*") if one.is_file()):
        state = path.stat()
        found[str(path.relative_to(root))] = (path.read_text(), state.st_mode & 0o7777, state.st_uid, state.st_gid)
    return found


def test_without_write_everything_is_printed_and_nothing_done(root: Path) -> None:
    before = files(root)
    shown = setup("--root", root).stdout
    for line in (HERE / "dovecot-2.3-main.conf").read_text().splitlines()[1:]:
        assert line in shown
    for text in ("install -d -o root -g root -m 0755 /srv/mail", "useradd --system", "--uid 998 --gid 997", "# then:"):
        assert text in shown
    assert files(root) == before


def test_with_write_it_is_there(root: Path) -> None:
    said = written(root).stdout
    found = files(root)
    assert found[DROP_IN] == ((HERE / "dovecot-2.3-main.conf").read_text(), 0o644, 0, 0)
    assert found["etc/tierproxy/tierproxy.toml"][0] == (HERE / "tierproxy.toml").read_text()
    secret, mode, uid, gid = found["etc/tierproxy/mount.secret"]
    assert (len(secret.strip()) >= 40, mode, uid, gid) == (True, 0o640, 0, 996)
    point, index = (root / "srv/mail").stat(), (root / "var/lib/dovecot/index").stat()
    assert (point.st_uid, point.st_mode & 0o7777) == (0, 0o755)
    assert (index.st_uid, index.st_gid, index.st_mode & 0o7777) == (998, 997, 0o700)
    assert "--uid 998 --gid 997" in found["etc/systemd/system/tierproxy-mount.service"][0]
    for name in found:
        assert name == "etc/passwd" or f"/{name}" in said, "each file is said"
    assert "left out    systemctl daemon-reload (--root)" in said


def test_a_second_time_changes_nothing(root: Path) -> None:
    written(root)
    before = files(root)
    said = written(root).stdout
    assert files(root) == before
    assert {line.split()[0] for line in said.split("\nleft for you")[0].splitlines()} <= {
        "unchanged",
        "kept",
        "there",
        "left",
    }


def test_another_layout_replaces_its_own_files_and_keeps_the_old_ones(root: Path) -> None:
    written(root)
    old = files(root)[DROP_IN]
    written(root, "--layout", "alt")
    assert files(root)[DROP_IN][0] == (HERE / "dovecot-2.3-alt.conf").read_text()
    assert files(root)[f"{DROP_IN}.bak"] == old
    written(root)
    assert files(root)[DROP_IN] == old
    assert f"{DROP_IN}.bak1" in files(root), "no backup replaces another"


@pytest.mark.parametrize("whose", ["somebody's", "changed"])
def test_what_is_somebody_elses_stays(root: Path, whose: str) -> None:
    text = "mail_location = maildir:~/Maildir\n"
    if whose == "changed":
        written(root)
        text = (root / DROP_IN).read_text() + text
    (root / DROP_IN).parent.mkdir(parents=True, exist_ok=True)
    (root / DROP_IN).write_text(text)
    before = files(root)
    refused = setup("--write", "--root", root, "--layout", "alt", fails=ExitCode.CONFIG)
    assert f"/{DROP_IN} was written, or changed, by somebody else" in refused.stderr
    assert files(root) == before, "nothing at all is done"
    written(root, "--layout", "alt", "--force")
    assert files(root)[DROP_IN][0] == (HERE / "dovecot-2.3-alt.conf").read_text()
    assert files(root)[f"{DROP_IN}.bak"][0] == text


def test_the_nodes_configuration_and_the_secret_are_never_replaced(root: Path) -> None:
    (root / "etc/tierproxy").mkdir()
    for name in ("tierproxy.toml", "mount.secret"):
        (root / "etc/tierproxy" / name).write_text("mine")
    written(root, "--force")
    assert {files(root)[f"etc/tierproxy/{name}"][0] for name in ("tierproxy.toml", "mount.secret")} == {"mine"}


def test_a_mount_point_with_mail_in_it_is_not_touched(root: Path) -> None:
    (root / "srv/mail/alice").mkdir(parents=True, mode=0o777)
    (root / "srv/mail").chmod(0o777)
    refused = setup("--write", "--root", root, fails=ExitCode.CONFIG)
    assert "/srv/mail is 0:0 0777 and not empty" in refused.stderr
    assert not (root / DROP_IN).exists()
    (root / "srv/mail/alice").rmdir()
    written(root)
    assert (root / "srv/mail").stat().st_mode & 0o7777 == 0o755


def test_what_is_mounted_is_left_alone(root: Path) -> None:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mountinfo").write_text("90 27 0:60 / /srv/mail rw - fuse.tierproxy x rw\n")
    (root / "srv/mail").mkdir(parents=True)
    (root / "srv/mail").chmod(0o700)
    assert "mounted     /srv/mail" in written(root).stdout
    assert (root / "srv/mail").stat().st_mode & 0o7777 == 0o700


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--mail-root", "srv/mail"), "is not a plain absolute path"),
        (("--mail-root", "/srv/../mail"), "is not a plain absolute path"),
        (("--index-root", "/var/%u"), "is not a plain absolute path"),
        (("--index-root", "/srv/mail/index"), "is on the mount"),
        (("--home-root", "/srv/mail"), "is on the mount"),
        (("--dovecot-version", "2.2.36"), "neither 2.3 nor 2.4"),
    ],
)
def test_what_would_make_a_trap_is_refused(words: tuple[str, ...], text: str) -> None:
    result = CliRunner().invoke(app, ["dovecot", "setup", *COMMON, *words])
    assert result.exit_code in {ExitCode.CONFIG, ExitCode.FAILED}
    assert text in result.stderr


def test_other_places_are_taken(root: Path) -> None:
    places = ("--mail-root", "/data/objects", "--index-root", "/fast/index", "--folders", "fs", "--bucket", "post")
    written(root, "--no-systemd", *places)
    text = (root / DROP_IN).read_text()
    assert "mail_location = sdbox:/data/objects/%u:INDEX=/fast/index/%u:CONTROL=/var/lib/dovecot/control/%u" in text
    assert 'name = "post"' in (root / "etc/tierproxy/tierproxy.toml").read_text()
    assert not (root / "etc/systemd").exists()
    assert (root / "data/objects").is_dir()


# ---------------------------------------------------------------- on the machine itself


def test_a_node_that_is_there_is_asked_where_it_listens(tmp_path: Path) -> None:
    text = '[listen]\nauth = "none"\nregion = "eu-1"\nunix_socket = "/run/x.sock"\n[[bucket]]\nname = "mail"\n'
    (tmp_path / "node.toml").write_text(text)
    said = setup("--config", tmp_path / "node.toml")
    assert "mount unix:/run/x.sock/mail /srv/mail" in said.stdout
    assert "--region eu-1" in said.stdout
    assert "bucket mail has no mail_metadata" in said.stderr
    assert f"# what {tmp_path}/node.toml needs:" in said.stdout
    (tmp_path / "node.toml").write_text("[listen]\ncolour = 1\n")
    assert "cannot be used yet" in setup("--config", tmp_path / "node.toml").stderr


def carrier(run: list[list[str]], tmp_path: Path, answer: Answer | None = None) -> Carrier:
    def call(command: object) -> Answer:
        run.append(list(command))  # type: ignore[call-overload]
        return answer or Answer("")

    return Carrier(Host(Path("/"), call), Files(), call)


def test_commands_are_run_where_the_machine_is_meant(tmp_path: Path) -> None:
    ran: list[list[str]] = []
    deeds = carrier(ran, tmp_path).decided([Command(("useradd", "x"), "", "root"), Command(("true", "a b"), "")])
    assert [deed.said for deed in deeds] == ["there       user root", "run         true 'a b'"]
    assert ran == []
    assert deeds[1].act is not None
    deeds[1].act()
    assert ran == [["true", "a b"]]


def test_a_command_that_fails_ends_it(tmp_path: Path) -> None:
    deed = carrier([], tmp_path, Answer("", "no such user\n", 6)).decided([Command(("false",), "")])[0]
    assert deed.act is not None
    with pytest.raises(ConfigError, match="false: no such user"):
        deed.act()


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    class Full(Files):
        def fsync(self, fd: int) -> None:
            raise DiskUnavailable("no")

    made = Carrier(Host(tmp_path), Full(), lambda command: Answer("")).decided([File("/x/a.conf", "text", "")])[0]
    assert made.act is not None
    with pytest.raises(DiskUnavailable):
        made.act()
    assert list((tmp_path / "x").iterdir()) == []


def test_everything_in_the_way_is_said_at_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("x")
    steps: list[Step] = [File("/a", "text", ""), Directory("/b", "root", 0o755, ""), Secret("/c", "root", "")]
    with pytest.raises(ConfigError) as refused:
        Carrier(Host(tmp_path), Files(), lambda command: Answer("")).decided(steps)
    assert re.findall(r"^  (/\w) ", str(refused.value), flags=re.MULTILINE) == ["/a", "/b"]
    assert not (tmp_path / "c").exists()

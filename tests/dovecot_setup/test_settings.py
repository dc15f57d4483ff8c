"""What Dovecot is told; and doveconf, where it is installed, takes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.dovecot_setup.machine import V23, V24, own_file
from tierproxy.dovecot.commands import run
from tierproxy.dovecot.doveconf import parsed
from tierproxy.dovecot.places import places
from tierproxy.dovecot.settings import Folders, Layout, Paths, mail_settings
from tierproxy.dovecot.versions import SBIN, find

DOVECONF = shutil.which("doveconf") or shutil.which("doveconf", path=SBIN)


def test_layout_main_of_23() -> None:
    text = mail_settings(V23, Layout.MAIN)
    location = "sdbox:/srv/mail/%u:INDEX=/var/lib/dovecot/index/%u:CONTROL=/var/lib/dovecot/control/%u"
    assert f"\nmail_location = {location}\n" in text, "LAYOUT=fs is what Dovecot takes where nothing is said"
    assert "\nmail_always_cache_fields = date.save date.received\n" in text


def test_layout_main_of_24() -> None:
    text = mail_settings(V24, Layout.MAIN)
    for line in (
        "mail_driver = sdbox",
        "mail_path = /srv/mail/%{user}",
        "mail_index_path = /var/lib/dovecot/index/%{user}",
        "mail_control_path = /var/lib/dovecot/control/%{user}",
        "mailbox_list_layout = fs",
        "mail_inbox_path =",
    ):
        assert f"\n{line}\n" in text
    assert "mail_location" not in text
    assert "%u" not in text


def test_layout_alt_leaves_the_index_with_the_new_mail() -> None:
    assert "\nmail_location = sdbox:~/sdbox:ALT=/srv/mail/%u\n" in mail_settings(V23, Layout.ALT)
    text = mail_settings(V24, Layout.ALT)
    assert "\nmail_alt_path = /srv/mail/%{user}\n" in text
    assert "index_path" not in text


def test_folders_paths_and_owner_can_be_others() -> None:
    paths = Paths(mail="/m", index="/i", control="/c", home="/h")
    text = mail_settings(V23, Layout.MAIN, paths, user="5000", group="6000", folders=Folders.INDEX, prefetch=3)
    for line in (
        "mail_location = sdbox:/m/%u:LAYOUT=index:INDEX=/i/%u:CONTROL=/c/%u",
        "mail_uid = 5000",
        "mail_gid = 6000",
        "mail_home = /h/%u",
        "mail_prefetch_count = 3",
    ):
        assert f"\n{line}\n" in f"\n{text}"


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("version", [V23, V24], ids=str)
def test_every_line_has_its_reason_above(version: object, layout: Layout) -> None:
    lines = mail_settings(V23 if version == V23 else V24, layout).splitlines()
    assert lines[0].startswith("# ")
    assert all(len(line) <= 200 for line in lines)
    names = [line.partition(" ")[0] for line in lines if not line.startswith("#")]
    assert len(names) == len(set(names))


@pytest.mark.skipif(DOVECONF is None, reason="doveconf is not installed")
@pytest.mark.parametrize("folders", [None, Folders.INDEX])
@pytest.mark.parametrize("layout", Layout)
def test_doveconf_takes_it(tmp_path: Path, layout: Layout, folders: Folders | None) -> None:
    installed = find(str(tmp_path / "dovecot.conf"))
    lines = mail_settings(installed.version, layout, user="5000", folders=folders)
    (tmp_path / "dovecot.conf").write_text(own_file(installed.version, tmp_path, lines))
    answer = installed.configuration()
    assert (answer.status, answer.error) == (0, "")
    found = parsed(answer.out, installed.version)
    place = places(found)[0]
    assert "/srv/mail" in place.path + place.alt
    assert (found.top.get("mail_uid"), found.top.get("mail_prefetch_count")) == ("5000", "10")


@pytest.mark.skipif(DOVECONF is None, reason="doveconf is not installed")
def test_what_doveconf_refuses_is_an_answer(tmp_path: Path) -> None:
    installed = find(str(tmp_path / "dovecot.conf"))
    (tmp_path / "dovecot.conf").write_text(own_file(installed.version, tmp_path, "mail_no_such_setting = 1\n"))
    answer = run([installed.doveconf, "-c", installed.config, "-n"])
    assert answer.status
    assert "mail_no_such_setting" in answer.error

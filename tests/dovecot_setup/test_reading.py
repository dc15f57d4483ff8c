"""What doveconf prints is understood, of both versions; and where mail is by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dovecot_setup.machine import HEADERS, NAMESPACE, V23, V24, Machine, printed
from tierproxy.dovecot.commands import Answer, Unrunnable, run
from tierproxy.dovecot.doveconf import Unparsable, parsed
from tierproxy.dovecot.host import Silent
from tierproxy.dovecot.places import below, fixed_part, parsed_location, places
from tierproxy.dovecot.settings import Folders, Layout
from tierproxy.dovecot.versions import NoDovecot, Series, find, version_of


@pytest.mark.parametrize(
    ("text", "series", "numbers"),
    [
        ("2.3.19.1 (9b53102964)\n", Series.V23, (2, 3, 19, 1)),
        ("2.4.1-4 (7d8c0bc7f1)", Series.V24, (2, 4, 1)),
        ("2.4", Series.V24, (2, 4)),
    ],
)
def test_versions_are_understood(text: str, series: Series, numbers: tuple[int, ...]) -> None:
    assert (version_of(text).series, version_of(text).numbers) == (series, numbers)


@pytest.mark.parametrize("text", ["2.2.36 (x)", "3.0.0", "2.30.1", "dovecot", ""])
def test_other_versions_are_an_error_that_says_so(text: str) -> None:
    with pytest.raises(NoDovecot) as refused:
        version_of(text)
    assert refused.value.hint


def test_dovecot_is_found_with_its_version() -> None:
    found = find("x.conf", lambda command: Answer("2.4.1-4 (7d8c0bc7f1)\n"), lambda name: f"/opt/{name}")
    assert (found.doveconf, found.version.text) == ("/opt/doveconf", "2.4.1")
    asked: list[list[str]] = []

    def call(command: object) -> Answer:
        asked.append(list(command))  # type: ignore[call-overload]
        return Answer("")

    found.configuration(call)
    assert asked == [["/opt/doveconf", "-c", "x.conf", "-a"]]


def test_without_dovecot_there_is_a_hint() -> None:
    with pytest.raises(NoDovecot, match="not installed"):
        find(which=lambda name: None)


def test_a_command_that_is_not_there_is_an_error_of_ours() -> None:
    with pytest.raises(Unrunnable, match="/no/such/program does not run"):
        run(["/no/such/program"])
    assert run(["sh", "-c", "echo a; echo b >&2; exit 3"]) == Answer("a\n", "b\n", 3)


def test_a_configuration_is_a_tree() -> None:
    found = parsed(HEADERS[V23] + 'a = b = c\nempty =\nquoted = "x y"\n' + NAMESPACE)
    assert (found.version.text, found.source) == ("2.3.19.1", "/etc/dovecot/dovecot.conf")
    assert (found.top.get("a"), found.top.get("empty"), found.top.get("quoted")) == ("b = c", "", "x y")
    inbox = next(found.top.of_kind("namespace"))
    assert (str(inbox), inbox.true("inbox"), inbox.get("location")) == ("namespace inbox", True, "")
    assert next(inbox.of_kind("mailbox")).get("special_use") == "\\Drafts"


def test_lists_are_words_or_blocks() -> None:
    found = parsed(HEADERS[V24] + "mail_plugins {\n  quota = yes\n  acl = no\n}\nfields = a b\n")
    assert found.top.words("mail_plugins") == ["quota"]
    assert found.top.words("fields") == ["a", "b"]
    assert found.top.words("none") == []


@pytest.mark.parametrize(
    "text",
    ["mail_location = x\n", HEADERS[V23] + "namespace inbox {\n", HEADERS[V23] + "what is this\n", "# 2.2.13: x\n"],
    ids=["no version", "no end", "no setting", "old"],
)
def test_what_is_not_of_doveconf_is_refused(text: str) -> None:
    with pytest.raises(Unparsable) as refused:
        parsed(text)
    assert refused.value.hint


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='ab =:{}#%/\n"~', max_size=80))
def test_no_text_breaks_the_reading(text: str) -> None:
    try:
        places(parsed(HEADERS[V23] + text))
        places(parsed(HEADERS[V24] + text))
    except Unparsable:
        pass


def test_a_mail_location_is_taken_apart() -> None:
    found = parsed_location("sdbox:~/sdbox:ALT=/srv/mail/%u:LAYOUT=index:ALTNOCHECK:INDEX=/x::y/%u", "here", "/home/%u")
    assert (found.driver, found.path, found.alt) == ("sdbox", "/home/%u/sdbox", "/srv/mail/%u")
    assert (found.index, found.folders, list(found.others)) == ("/x:y/%u", Folders.INDEX, ["ALTNOCHECK"])
    assert parsed_location("maildir:~/Maildir", "here").folders == Folders.MAILDIRPP
    assert parsed_location("", "here").driver == ""


@pytest.mark.parametrize("layout", Layout)
def test_both_versions_say_the_same(layout: Layout) -> None:
    of23, of24 = (places(parsed(printed(version, layout)))[0] for version in (V23, V24))
    for field in ("path", "alt", "index", "control"):
        assert getattr(of23, field) == getattr(of24, field).replace("%{user}", "%u")
    assert (of23.driver, of23.folders) == (of24.driver, of24.folders)


def test_namespaces_with_a_place_of_their_own_are_places() -> None:
    own = "namespace old {\n  location = maildir:/old/%u\n}\nnamespace same {\n  location =\n}\n"
    found = places(parsed(printed(V23) + own))
    assert [place.path for place in found] == ["/srv/mail/%u", "/old/%u"]
    own = "namespace old {\n  mail_driver = maildir\n  mail_path = /old/%{user}\n}\n"
    found = places(parsed(printed(V24) + own))
    assert [(place.driver, place.path) for place in found] == [
        ("sdbox", "/srv/mail/%{user}"),
        ("maildir", "/old/%{user}"),
    ]
    assert found[1].index == "/var/lib/dovecot/index/%{user}", "which it does not set itself"


@pytest.mark.parametrize(
    ("path", "fixed"),
    [
        ("/srv/mail/%u", "/srv/mail"),
        ("/srv/mail/%d/%n", "/srv/mail"),
        ("/srv/mail/%2.256Nu/%u", "/srv/mail"),
        ("/srv/mail/u-%{user | sha1}", "/srv/mail"),
        ("/srv/mail/", "/srv/mail"),
        ("/%u", "/"),
        ("~/mail", ""),
        ("%h/mail", ""),
        ("", ""),
    ],
)
def test_what_does_not_depend_on_the_user(path: str, fixed: str) -> None:
    assert fixed_part(path) == fixed


def test_below_is_by_whole_names() -> None:
    assert below("/srv/mail/x", "/srv/mail")
    assert below("/srv/mail", "/srv/mail/")
    assert not below("/srv/mailbox", "/srv/mail")
    assert below("/srv", "/")


def test_the_last_mount_on_a_place_is_seen(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "root")
    machine.mounts.append("95 27 0:70 / /srv/mail\\040box rw - ext4 /dev/sdb1 rw")
    machine.mounts.append("96 27 0:71 / /srv/mail rw - nfs4 filer:/x rw")
    host = machine.host()
    assert [one.kind for one in (host.mount_of("/srv/mail/a"), host.mount_of("/srv")) if one] == ["nfs4", "ext4"]
    spaced = host.mount_of("/srv/mail box/a")
    assert spaced is not None
    assert spaced.source == "/dev/sdb1"


def test_a_mount_is_asked_by_a_process_that_is_killed(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "root")
    assert machine.host().answer_of("/srv/mail").uid == 998
    assert machine.ran[-1][:4] == ["timeout", "-s", "KILL", "5"]
    machine.said["timeout"] = Answer("", "", 137)
    with pytest.raises(Silent, match="5 seconds"):
        machine.host().answer_of("/srv/mail")

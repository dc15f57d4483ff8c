"""Every trap, seen and not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.dovecot_setup.machine import CONFIG, MOUNT, ROOT_FS, V23, V24, Machine, printed, situation
from tierproxy.config.sections import BucketSection, Config, PolicySection, StubsSection, WriteSection
from tierproxy.config.values import Size
from tierproxy.dovecot.checks import TRAPS, Finding, NodeSeen, Situation, Verdict, examine, worst
from tierproxy.dovecot.commands import Answer
from tierproxy.dovecot.settings import Layout
from tierproxy.model import Ack

Make = Callable[[Machine], Situation]
OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "root")


def dovecot(version: object = V23, layout: Layout = Layout.MAIN, **changed: str) -> Make:
    """Dovecot's settings are others."""
    return lambda machine: situation(machine, printed(version, layout, **changed))


def node(**section: object) -> Make:
    """The bucket's section is another."""
    bucket = replace(CONFIG.bucket[0], **section)  # type: ignore[arg-type]
    return lambda machine: situation(machine, config=replace(CONFIG, bucket=(bucket,)))


def config(**sections: object) -> Make:
    return lambda machine: situation(machine, config=replace(CONFIG, **sections))  # type: ignore[arg-type]


def mounts(*lines: str) -> Make:
    def make(machine: Machine) -> Situation:
        machine.mounts = list(lines)
        return situation(machine)

    return make


def said(command: str, answer: Answer | None) -> Make:
    """A command answers something else, or does not run."""

    def make(machine: Machine) -> Situation:
        machine.said.pop(command)
        if answer is not None:
            machine.said[command] = answer
        return situation(machine)

    return make


def unmounted(change: Callable[[Machine], object]) -> Make:
    """Nothing is mounted, and the mount point is another."""

    def make(machine: Machine) -> Situation:
        machine.mounts = [ROOT_FS]
        change(machine)
        return situation(machine)

    return make


def changed(change: Callable[[Machine], object]) -> Make:
    def make(machine: Machine) -> Situation:
        change(machine)
        return situation(machine)

    return make


def remade(machine: Machine) -> None:
    (machine.root / "srv/mail").rmdir()
    machine.write("srv/mail", "")


MAIL = "sdbox:/srv/mail/%u:LAYOUT=index"
ELSEWHERE = "INDEX=/var/lib/dovecot/index/%u:CONTROL=/var/lib/dovecot/control/%u"
NFS = "91 27 0:61 / /var/lib/dovecot rw - nfs4 filer:/dovecot rw"
TMPFS = "91 27 0:61 / /var/lib/dovecot rw - tmpfs tmpfs rw"
S3FS = "90 27 0:60 / /srv/mail rw - fuse.s3fs s3fs rw,allow_other"

SEEN: list[tuple[str, Verdict, str, Make]] = [
    ("dovecot-version", WARN, "2.3.4", lambda m: situation(m, printed().replace("2.3.19.1", "2.3.4.1"))),
    (
        "dovecot-configuration",
        FAIL,
        "Unknown setting: foo",
        lambda m: situation(m, dovecot=None, problem="Unknown setting: foo"),
    ),
    ("mount", FAIL, "nothing is mounted on /srv/mail", mounts(ROOT_FS)),
    ("mount", FAIL, "fuse.s3fs", mounts(ROOT_FS, S3FS)),
    (
        "mount-answers",
        FAIL,
        "Transport endpoint",
        said("timeout", Answer("", "Transport endpoint is not connected", 1)),
    ),
    ("mount-answers", FAIL, "within 5 seconds", said("timeout", Answer("", "", 137))),
    ("one-mount", FAIL, "2 mounts lie on /srv/mail", mounts(ROOT_FS, MOUNT, MOUNT)),
    ("one-mount", WARN, "is mounted 2 times", mounts(ROOT_FS, MOUNT, MOUNT.replace("/srv/mail", "/srv/mail2"))),
    ("mount-point", FAIL, "is 998:998 0755", said("unshare", Answer("998 998 755\n"))),
    ("mount-point", FAIL, "is 0:0 0777", said("unshare", Answer("0 0 777\n"))),
    ("mount-point", FAIL, "there are files in /srv/mail under the mount", said("unshare", Answer("0 0 755\nalice\n"))),
    ("mount-point", WARN, "cannot be seen", said("unshare", Answer("", "Operation not permitted", 1))),
    ("mount-point", WARN, "cannot be seen", said("unshare", None)),
    ("mount-point", FAIL, "is 998:998 0755", unmounted(lambda m: m.own("srv/mail", 998, 0o755))),
    ("mount-point", FAIL, "is 0:0 0775", unmounted(lambda m: m.own("srv/mail", 0, 0o775))),
    ("mount-point", FAIL, "there are files", unmounted(lambda m: m.write("srv/mail/alice/u.1", "x"))),
    ("mount-point", FAIL, "is not there", unmounted(lambda m: (m.root / "srv/mail").rmdir())),
    ("mount-point", FAIL, "is not a directory", unmounted(remade)),
    ("mount-point", FAIL, "/srv, above the mount point", unmounted(lambda m: m.own("srv", 998, 0o755))),
    ("mount-point", FAIL, "/srv, above the mount point", changed(lambda m: m.own("srv", 0, 0o777))),
    ("mount-point", FAIL, "/srv, above the mount point", changed(lambda m: m.own("srv", 0, 0o1777))),
    ("mount-options", FAIL, "no allow_other", mounts(ROOT_FS, MOUNT.replace(",allow_other", ""))),
    ("mount-options", FAIL, "read-only", mounts(ROOT_FS, MOUNT.replace("rw,nosuid", "ro,nosuid"))),
    (
        "mail-location",
        FAIL,
        "no mail is on /srv/mail (mail_location: mbox:~/mail)",
        dovecot(mail_location="mbox:~/mail", mail_home=""),
    ),
    ("mail-location", FAIL, "is empty", dovecot(mail_location="")),
    ("mail-location", FAIL, "the same for all users", dovecot(mail_location=f"sdbox:/srv/mail/all:{ELSEWHERE}")),
    ("mount", FAIL, "nothing is mounted on /home", dovecot(V24, mail_path="/home/%{user}/mail")),
    (
        "mail-location",
        WARN,
        "location of namespace old: maildir:/old/%u is not on",
        dovecot(block="namespace old {\n  location = maildir:/old/%u\n}"),
    ),
    ("mail-format", FAIL, "mdbox does not work", dovecot(mail_location=f"mdbox:/srv/mail/%u:{ELSEWHERE}")),
    ("mail-format", FAIL, "mdbox does not work", dovecot(V24, mail_driver="mdbox")),
    ("mail-format", FAIL, "mbox does not work", dovecot(mail_location=f"mbox:/srv/mail/%u:{ELSEWHERE}")),
    ("mail-format", WARN, "maildir works, but", dovecot(layout=Layout.MAILDIR)),
    ("mail-format", WARN, "maildir works, but", dovecot(V24, Layout.MAILDIR)),
    (
        "mail-format",
        FAIL,
        "location of namespace old",
        dovecot(block=f"namespace old {{\n  location = mdbox:/srv/mail/old/%u:{ELSEWHERE}\n}}"),
    ),
    (
        "index",
        FAIL,
        "index files are on the mount",
        dovecot(mail_location=f"{MAIL}:CONTROL=/var/lib/dovecot/control/%u"),
    ),
    ("index", FAIL, "index files are on the mount", dovecot(mail_location=f"{MAIL}:INDEX=/srv/mail/index/%u")),
    ("index", FAIL, "index files are on the mount", dovecot(V24, mail_index_path="")),
    ("index", FAIL, "index files are in memory", dovecot(mail_location=f"{MAIL}:INDEX=MEMORY")),
    ("index", FAIL, "on nfs4", mounts(ROOT_FS, MOUNT, NFS)),
    ("index", WARN, "on tmpfs", mounts(ROOT_FS, MOUNT, TMPFS)),
    (
        "index",
        WARN,
        "which the user database knows",
        dovecot(mail_home="", mail_location=f"{MAIL}:INDEX=~/index:CONTROL=~/control"),
    ),
    (
        "control",
        FAIL,
        "control files are on the mount",
        dovecot(mail_location=f"{MAIL}:INDEX=/var/lib/dovecot/index/%u"),
    ),
    ("control", FAIL, "control files are on the mount", dovecot(V24, mail_control_path="/srv/mail/.control/%{user}")),
    ("control", FAIL, "on nfs4", mounts(ROOT_FS, MOUNT, NFS)),
    ("folders", WARN, "in the index alone", dovecot(mail_location=f"{MAIL}:{ELSEWHERE}")),
    ("folders", WARN, "in the index alone", dovecot(V24, mailbox_list_layout="index")),
    ("folders", OK, "renaming one copies each", dovecot()),
    ("folders", OK, "renaming one copies each", dovecot(V24, mailbox_list_layout="")),
    ("home", FAIL, "homes are on the mount", dovecot(mail_home="/srv/mail/%u/home")),
    ("attachments", WARN, "and not in S3", dovecot(mail_attachment_dir="/var/attachments")),
    ("attachments", WARN, "and not in S3", dovecot(V24, mail_ext_attachment_path="/var/attachments")),
    ("plugins", WARN, "mails are compressed", dovecot(mail_plugins="zlib", block="plugin {\n  zlib_save = gz\n}")),
    (
        "plugins",
        WARN,
        "mails are encrypted",
        dovecot(V24, mail_crypt_save_version="2", block="mail_plugins {\n  mail_crypt = yes\n}"),
    ),
    ("plugins", WARN, "replication to tcp:other", dovecot(block="plugin {\n  mail_replica = tcp:other\n}")),
    ("alt-layout", WARN, "not in S3 before", dovecot(layout=Layout.ALT)),
    ("alt-layout", WARN, "comes back on force-resync", dovecot(V24, Layout.ALT)),
    ("alt-layout", WARN, "locks a mailbox", dovecot(layout=Layout.ALT)),
    ("owner", FAIL, "no user nobody-here", dovecot(mail_uid="nobody-here")),
    ("owner", WARN, "mail_uid is not set", dovecot(mail_uid="", mail_gid="")),
    ("owner", FAIL, "but the mount belongs to 5000:5000 0700", said("timeout", Answer("5000 5000 700\n"))),
    ("owner", FAIL, "outside of first_valid_uid = 1000", dovecot(first_valid_uid="1000")),
    ("owner", FAIL, "mail_uid 98", dovecot(mail_uid="98", mail_gid="98")),
    ("user-database", FAIL, "userdb passwd", dovecot(block="userdb {\n  driver = passwd\n}")),
    ("user-database", FAIL, "userdb passwd", dovecot(V24, block="userdb passwd {\n}")),
    ("user-database", WARN, "wins", dovecot(block="userdb {\n  driver = static\n  args = uid=1 mail=mbox:~\n}")),
    ("user-database", OK, "passwd", dovecot(block="userdb {\n  driver = passwd\n  override_fields = uid=vmail\n}")),
    ("user-database", OK, "passwd", dovecot(V24, block="userdb passwd {\n  fields {\n    uid = vmail\n  }\n}")),
    ("user-database", OK, "passwd-file", dovecot(V24, block="userdb passwd-file {\n  driver = passwd-file\n}")),
    (
        "user-names",
        WARN,
        "is %{user | username | lower}, else %{user | lower}",
        dovecot(V24, block="protocol lmtp {\n  auth_username_format = %{user | username | lower}\n}"),
    ),
    (
        "user-names",
        WARN,
        "is %Ln, else %Lu",
        dovecot(block="protocol lmtp {\n  auth_username_format = %Ln\n}"),
    ),
    ("fsync", WARN, "a crash damages indexes", dovecot(mail_fsync="never")),
    ("fsync", FAIL, "lost with the power", dovecot(layout=Layout.ALT, mail_fsync="never")),
    ("prefetch", WARN, "one after the other", dovecot(mail_prefetch_count="0")),
    ("prefetch", WARN, "that many bodies", dovecot(mail_prefetch_count="500")),
    ("cached-fields", WARN, "date.save", dovecot(mail_always_cache_fields="date.received")),
    ("locks", WARN, "mail_nfs_index", dovecot(mail_nfs_index="yes")),
    ("locks", WARN, "mmap_disable", dovecot(mmap_disable="yes")),
    ("locks", WARN, "dotlock", dovecot(lock_method="dotlock")),
    ("locks", WARN, "mailbox_list_index", dovecot(mailbox_list_index="no")),
    ("node", FAIL, "Connection refused", lambda m: situation(m, node=NodeSeen("Connection refused"))),
    ("node", WARN, "is not known: no such file", lambda m: situation(m, config=None, config_problem="no such file")),
    ("bucket", FAIL, "is not exclusive", node(exclusive=False)),
    (
        "bucket",
        FAIL,
        "is not in the node's configuration (there: mail)",
        lambda m: situation(m, bucket="news"),
    ),
    ("bucket", FAIL, "is not in the node's configuration (there: news)", node(name="news")),
    ("bucket", FAIL, "is not complete", lambda m: situation(m, node=NodeSeen("", {"mail": False}))),
    ("bucket", WARN, "nobody says", lambda m: situation(m, node=NodeSeen("", None))),
    ("mail-metadata", WARN, "mail_metadata is off", node(mail_metadata=False)),
    ("stubs", WARN, "no stubs", config(stubs=StubsSection(max_bytes=Size(0)))),
    ("stubs", WARN, "1024 bytes of the head", config(stubs=StubsSection(head=Size(1024)))),
    (
        "systemd",
        FAIL,
        "does not wait for",
        said("systemctl", Answer("LoadState=loaded\nAfter=basic.target\nRequires=\n")),
    ),
    ("systemd", WARN, "does not start", said("systemctl", Answer("LoadState=loaded\nAfter=tierproxy-mount.service\n"))),
    ("systemd", WARN, "no dovecot.service", said("systemctl", Answer("LoadState=not-found\n"))),
    ("systemd", WARN, "no systemd", changed(lambda m: (m.root / "run/systemd/system").rmdir())),
    ("fuse", FAIL, "no /dev/fuse", changed(lambda m: (m.root / "dev/fuse").unlink())),
    ("kernel", FAIL, "Linux 4.19", changed(lambda m: m.write("proc/sys/kernel/osrelease", "4.19.0-1\n"))),
    ("kernel", WARN, "not known", changed(lambda m: (m.root / "proc/sys/kernel/osrelease").unlink())),
]


@pytest.mark.parametrize(("trap", "verdict", "text", "make"), SEEN, ids=[f"{one[0]}: {one[2]}" for one in SEEN])
def test_a_trap_is_seen(machine: Machine, trap: str, verdict: Verdict, text: str, make: Make) -> None:
    found = [one for one in examine(make(machine)) if one.trap == trap]
    assert [one for one in found if one.verdict is verdict and text in one.saw], found
    assert all(one.change for one in found if one.verdict is not OK)


@pytest.mark.parametrize("version", [V23, V24], ids=str)
def test_where_all_is_right_nothing_is_said(machine: Machine, version: object) -> None:
    found = examine(situation(machine, printed(version)))
    assert [one for one in found if one.verdict is not OK] == []
    assert {one.trap for one in found} == {trap.name for trap in TRAPS} - {
        "attachments",
        "plugins",
        "alt-layout",
        "locks",
        "user-database",
        "user-names",
    }


@pytest.mark.parametrize(("debian", "traps"), [("12", {"user-database"}), ("13", {"user-database", "user-names"})])
def test_what_debian_itself_sets_is_seen(machine: Machine, debian: str, traps: set[str]) -> None:
    """Real output of ``doveconf -n``: Debian's own files and 99-tierproxy.conf, of ``--folders index``."""
    text = (Path(__file__).parent / "printed" / f"debian{debian}.txt").read_text()
    found = examine(situation(machine, text))
    assert {one.trap for one in found if one.verdict is not OK} == traps | {"folders"}


@pytest.mark.parametrize("version", [V23, V24], ids=str)
def test_layout_alt_has_its_limits_and_no_failure(machine: Machine, version: object) -> None:
    found = examine(situation(machine, printed(version, Layout.ALT)))
    assert worst(found) is WARN
    assert {one.trap for one in found if one.verdict is WARN} == {"alt-layout"}


def test_every_trap_is_shown_failing_here() -> None:
    never_seen = {trap.name for trap in TRAPS} - {one[0] for one in SEEN}
    assert never_seen == {"ack"}, "which is told, never judged"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (node(), "ack both: a mail is on disk and in S3 when LMTP answers 250; while S3 is down it waits on disk"),
        (node(ack=Ack.DISK), "ack disk: a mail is on this disk when LMTP answers 250, and in S3 soon after"),
        (config(write=WriteSection(ack=Ack.ALT)), "ack alt: a mail is in S3 when LMTP answers 250, and not on disk"),
        (node(policy=(PolicySection(key="*/Trash/*", ack=Ack.DISK),)), "ack disk for keys like */Trash/*"),
    ],
    ids=["both", "disk", "alt", "by key"],
)
def test_the_ack_is_told(machine: Machine, make: Make, text: str) -> None:
    assert [one for one in examine(make(machine)) if one.trap == "ack" and one.saw.startswith(text)]


def test_without_dovecot_the_rest_is_still_looked_at(machine: Machine) -> None:
    found = examine(situation(machine, dovecot=None, problem="doveconf: Fatal"))
    assert [one.trap for one in found if one.verdict is FAIL] == ["dovecot-configuration"]
    assert {"mount", "mount-point", "node", "kernel"} <= {one.trap for one in found if one.verdict is OK}


def test_the_mount_point_is_found_out(machine: Machine) -> None:
    elsewhere = MOUNT.replace("/srv/mail", "/data/objects")
    machine.mounts = [ROOT_FS, elsewhere]
    text = printed(mail_location=f"sdbox:/data/objects/post/%d/%n:{ELSEWHERE}")
    assert situation(machine, text).root == "/data/objects"
    machine.mounts = [ROOT_FS]
    assert situation(machine, text).root == "/data/objects/post"
    assert situation(machine, text, mail_root="/mnt").root == "/mnt"
    machine.mounts = [ROOT_FS, MOUNT.replace("/srv/mail", "/some/other")]
    assert situation(machine, printed(layout=Layout.ALT)).root == "/srv/mail", "the other mount is for something else"
    assert situation(machine, printed(mail_location="mbox:~/mail")).root == "/some/other"


def test_the_bucket_is_found_out(machine: Machine) -> None:
    two = replace(CONFIG, bucket=(*CONFIG.bucket, BucketSection(name="news")))
    assert found_bucket(situation(machine, config=two)) == "mail"
    assert found_bucket(situation(machine, config=two, bucket="news")) == "news"
    machine.mounts = [ROOT_FS]
    assert found_bucket(situation(machine, config=two)) is None
    assert found_bucket(situation(machine)) == "mail"


def test_a_directory_like_tmp_far_above_is_no_trap(machine: Machine) -> None:
    machine.own("", 0, 0o1777)
    assert [one.verdict for one in examine(situation(machine)) if one.trap == "mount-point"] == [OK]
    machine.own("", 0, 0o777)
    assert FAIL in [one.verdict for one in examine(situation(machine)) if one.trap == "mount-point"]


def test_lmtp_that_finds_users_by_the_same_name_is_no_trap(machine: Machine) -> None:
    same = "protocol lmtp {\n  auth_username_format = %Ln\n}"
    found = examine(situation(machine, printed(auth_username_format="%Ln", block=same)))
    assert [one for one in found if one.trap == "user-names"] == []


def found_bucket(now: Situation) -> str | None:
    return now.section.name if now.section is not None else None


def test_the_worst_verdict_counts() -> None:
    def of(*verdicts: Verdict) -> list[Finding]:
        return [Finding("x", verdict, "") for verdict in verdicts]

    assert worst(of()) is worst(of(OK)) is OK
    assert worst(of(OK, WARN)) is WARN
    assert worst(of(WARN, FAIL, OK)) is FAIL


def names() -> Iterator[str]:
    yield from (trap.name for trap in TRAPS)


def test_traps_have_names_of_their_own_and_a_reason() -> None:
    assert len(set(names())) == len(TRAPS)
    assert all(trap.about.endswith(".") for trap in TRAPS)


def test_a_configuration_without_a_bucket_has_none(machine: Machine) -> None:
    assert found_bucket(situation(machine, config=Config())) is None

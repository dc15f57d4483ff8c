"""Traps of the node behind the mount."""

from __future__ import annotations

from collections.abc import Iterator

from tierproxy.config.sections import BucketSection, Config
from tierproxy.dovecot.checks.finding import Said, Trap, fail, ok, warn
from tierproxy.dovecot.checks.situation import Situation
from tierproxy.model import Ack, OnAltDown


def _node(now: Situation) -> Iterator[Said]:
    if now.config is None:
        yield warn(
            f"the node's configuration is not known: {now.config_problem or 'no --config was given'}",
            "say --config /etc/tierproxy/tierproxy.toml, as root or as the node's user",
        )
    elif now.node.problem:
        yield fail(f"the node does not answer: {now.node.problem}", "systemctl start tierproxy; see its log")
    else:
        yield ok("the node answers")


def _bucket(now: Situation) -> Iterator[Said]:
    if now.config is None:
        return
    section = now.section
    if section is None:
        names = ", ".join(one.name for one in now.config.bucket) or "none"
        yield fail(
            f"the mount's bucket is not in the node's configuration (there: {names})",
            "say which one with --bucket, or write a [[bucket]] for it",
        )
        return
    if not section.exclusive:
        yield fail(
            f"bucket {section.name} is not exclusive: every look at a name asks S3",
            "exclusive = true, when no other program writes there",
        )
    else:
        yield _complete(now, section)


def _complete(now: Situation, section: BucketSection) -> Said:
    complete = (now.node.complete or {}).get(section.name)
    if complete is None:
        return warn(
            f"nobody says whether the catalogue of {section.name} is complete", "start the node and check again"
        )
    if not complete:
        return fail(
            f"the catalogue of {section.name} is not complete: what it does not know is looked for in S3 each time",
            f"stop the node, `tierproxy catalogue sync {section.name}`, start it",
        )
    return ok(f"bucket {section.name} is this node's alone, and its catalogue is complete")


def _metadata(now: Situation) -> Iterator[Said]:
    if now.section is None:
        return
    if now.section.mail_metadata:
        yield ok("what mails say of themselves is stored with their objects (mail_metadata)")
    else:
        yield warn(
            "mail_metadata is off: an empty host must read every mail to know its date, size and GUID",
            "mail_metadata = true in the [[bucket]]; `tierproxy reindex` does it for mail that is there",
        )


def _stubs(now: Situation) -> Iterator[Said]:
    if now.config is None:
        return
    stubs = now.config.stubs
    if not stubs.max_bytes:
        yield warn("no stubs are kept: a header of a purged mail costs a GET", '[stubs] max_bytes = "256MiB"')
    elif stubs.head < 8192:
        yield warn(f"stubs have {stubs.head} bytes of the head: Dovecot asks for 8192", '[stubs] head = "8KiB"')
    elif not stubs.on_purge:
        yield ok("stubs are kept where a rule says trim")
    else:
        yield ok("stubs are kept of what is purged")


_MEANINGS = {
    Ack.BOTH: "a mail is on disk and in S3 when LMTP answers 250",
    Ack.DISK: "a mail is on this disk when LMTP answers 250, and in S3 soon after; until then nowhere else",
    Ack.ALT: "a mail is in S3 when LMTP answers 250, and not on disk: the first read fetches it",
}


def _ack(now: Situation) -> Iterator[Said]:
    if now.config is None or now.section is None:
        return
    ack, down = _acks(now.config, now.section)
    queued = "; while S3 is down it waits on disk" if (ack, down) == (Ack.BOTH, OnAltDown.QUEUE) else ""
    yield ok(f"ack {ack}: {_MEANINGS[ack]}{queued}")
    for policy in now.section.policy:
        if policy.ack is not None and policy.ack is not ack:
            yield ok(f"ack {policy.ack} for keys like {policy.key}: {_MEANINGS[policy.ack]}")


def _acks(config: Config, section: BucketSection) -> tuple[Ack, OnAltDown]:
    return section.ack or config.write.ack, section.on_alt_down or config.write.on_alt_down


TRAPS = (
    Trap("node", "The mount is a client of the node.", _node),
    Trap("bucket", "Names are answered by the catalogue, not by S3.", _bucket),
    Trap("mail-metadata", "An empty host is rebuilt without reading bodies.", _metadata),
    Trap("stubs", "Headers of purged mail cost nothing.", _stubs),
    Trap("ack", "When new mail is safe.", _ack),
)

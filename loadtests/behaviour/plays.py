"""The scenarios: what users do, what the operator should see, and what must hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from behaviour.orders import S3, Phase
from behaviour.samples import DIRECT, HIT, MISS, Verb, Who
from behaviour.verdicts import AtLeast, Check, HitShare, Part, Ratio

SLOW_PUT, SLOW_GET = 0.2, 0.04  #: seconds added by the relay
SLOW: Mapping[str, float] = {"PUT": SLOW_PUT, "GET": SLOW_GET, "HEAD": SLOW_GET, "LIST": SLOW_GET}
CALM = Phase("calm")


class Before(StrEnum):
    """How the mail that is there came to be where it is."""

    ON_DISK = "on disk"  #: delivered through the node
    FORGOTTEN = "old mail purged"  #: delivered, purged, and what is read every day was read again
    NEW_SERVER = "in S3 alone"  #: the node's disk is empty


class Event(StrEnum):
    """What happens at the start of a phase."""

    NOTHING = "nothing"
    PURGE = "everything is purged from disk"
    SLOW_S3 = "S3 becomes slow"


@dataclass(frozen=True, slots=True)
class Act:
    """A phase and its share of the time."""

    phase: Phase
    share: float
    event: Event = Event.NOTHING


@dataclass(frozen=True, slots=True)
class Play:
    """One scenario. ``users``: what they do; ``sees``: what the operator should see."""

    name: str
    users: str
    sees: str
    acts: tuple[Act, ...]
    checks: tuple[Check, ...]
    before: Before = Before.ON_DISK
    cold: float = 0.0  #: share of every mailbox that has not been opened for long


def _hits(phase: str) -> Part:
    return Part(phase, Verb.READ, HIT, Who.PEOPLE)


def _disturbed(phase: str, text: str, median: float, late: float) -> tuple[Ratio, Ratio]:
    """Hits in ``phase`` beside those of the calm."""
    top, bottom = _hits(phase), _hits(CALM.name)
    return Ratio(text, top, bottom, median), Ratio(text, top, bottom, late, 0.95)


STRAIGHT = Phase("straight to S3", target=S3)
DIRECT_READS = Part(STRAIGHT.name, Verb.READ, DIRECT)
DIRECT_PUTS = Part(STRAIGHT.name, Verb.DELIVER, DIRECT)

MORNING = Play(
    "morning-inbox",
    "Everybody opens the inbox: lists it, reads what came last and some older mail again (probability by rank); busy "
    "owners do more than others (Zipf); one action in ten is a delivery. All of it is on disk.",
    "Hits alone; the disk answers about as fast as S3 on the same machine does, or faster, and S3 sees no GET.",
    (Act(STRAIGHT, 0.3), Act(Phase("morning"), 0.7)),
    (
        HitShare("morning", 1.0),
        Ratio("hits beside the same reads straight to S3", _hits("morning"), DIRECT_READS, 1.2),
        Ratio("hits beside the same reads straight to S3", _hits("morning"), DIRECT_READS, 2.0, 0.95),
        Ratio("deliveries (ack both) beside PUTs straight to S3", Part("morning", Verb.DELIVER), DIRECT_PUTS, 4.0),
    ),
)
BURST = Play(
    "delivery-burst",
    "People read as on any day; then one connection in five delivers without a pause, as when a newsletter goes to "
    "everybody.",
    "Deliveries several times as many, each acknowledged by both tiers; the upload queue stays short; readers notice "
    "little, because writes wait in threads.",
    (Act(CALM, 0.4), Act(Phase("burst", burst=5), 0.6)),
    (
        HitShare("burst", 1.0),
        AtLeast(Part("burst", Verb.DELIVER), 20),
        *_disturbed("burst", "hits during the burst beside calm", 3.0, 5.0),
        Ratio("deliveries during the burst beside calm", Part("burst", Verb.DELIVER), Part("calm", Verb.DELIVER), 5.0),
    ),
)
SEARCH = Play(
    "search-scan",
    "People read as on any day; then two clients search whole mailboxes without an index: every mail, oldest first, "
    "without a pause.",
    "Machine reads rise and people's do not: no rule keeps mail because a search touched it. People notice little.",
    (Act(CALM, 0.4), Act(Phase("search", scans=2), 0.6)),
    (
        AtLeast(Part("search", Verb.READ, HIT, Who.SCAN), 25),
        HitShare("search", 1.0),
        *_disturbed("search", "people's hits during the search beside calm", 3.0, 5.0),
    ),
)
COLD = Play(
    "cold-start",
    "People read as on any day; then everything is purged from disk, and they go on.",
    "Misses first, each mail fetched once and then a hit again; hits are as fast as before; the disk fills with what "
    "is read.",
    (Act(STRAIGHT, 0.2), Act(CALM, 0.2), Act(Phase("cold"), 0.6, Event.PURGE)),
    (
        AtLeast(Part("cold", Verb.READ, MISS), 5),
        HitShare("cold", 0.5, 0.25),
        Ratio("misses beside the same reads straight to S3", Part("cold", Verb.READ, MISS), DIRECT_READS, 3.0),
        *_disturbed("cold", "hits among misses beside calm", 3.0, 5.0),
    ),
)
NEW = Play(
    "new-server",
    "The node is new: its disk is empty and its catalogue too, all mail is in S3. People read and get mail at once.",
    "Misses first, hits soon; no request fails because the node does not know an object yet; new mail is a hit.",
    (Act(STRAIGHT, 0.3), Act(Phase("first day"), 0.7)),
    (
        AtLeast(Part("first day", Verb.READ, MISS), 5),
        HitShare("first day", 0.5, 0.25),
        Ratio("misses beside the same reads straight to S3", Part("first day", Verb.READ, MISS), DIRECT_READS, 3.0),
        Ratio("deliveries (ack both) beside PUTs straight to S3", Part("first day", Verb.DELIVER), DIRECT_PUTS, 4.0),
    ),
    Before.NEW_SERVER,
)
SLOW_S3 = Play(
    "slow-s3",
    "People read as on any day, one read in eight of mail that is not on disk; then S3 takes 200 ms longer for every "
    "PUT and 40 ms for every GET.",
    "Hits as fast as before; a miss takes the 40 ms longer and a delivery (ack both) the 200 ms, and no more: nobody "
    "waits behind them.",
    (Act(Phase("calm", cold=0.12), 0.4), Act(Phase("slow", cold=0.12), 0.6, Event.SLOW_S3)),
    (
        AtLeast(Part("slow", Verb.READ, MISS), 2),
        *_disturbed("slow", "hits while S3 is slow beside calm", 1.5, 2.0),
        Ratio(
            "misses beside calm and 40 ms", Part("slow", Verb.READ, MISS), Part("calm", Verb.READ, MISS), 1.5,
            added=SLOW_GET * 1000,
        ),
        Ratio(
            "deliveries (ack both) beside calm and 200 ms", Part("slow", Verb.DELIVER), Part("calm", Verb.DELIVER), 1.3,
            added=SLOW_PUT * 1000,
        ),
    ),
    Before.FORGOTTEN,
    cold=0.5,
)  # fmt: skip
PLAYS: Mapping[str, Play] = {play.name: play for play in (MORNING, BURST, SEARCH, COLD, NEW, SLOW_S3)}

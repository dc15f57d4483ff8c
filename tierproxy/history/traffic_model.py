"""What generated mail traffic is like: every parameter with its meaning, unit, default and source.

Where nothing published was found that could be checked, the source is ``OURS``: a choice, to be changed by those who
know better. ``docs/traffic.md`` has the same table and the sources in full; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any


class Source(StrEnum):
    """Where a default comes from; ``docs/traffic.md`` has the addresses."""

    OURS = "our choice"
    SEED = "our choice of number; the habit is in Sirainen 2012"
    SHAPE = "our choice of number; the shape is in Shah & Noble 2007"
    SIZES = "our choice of number; the shape is in Matsubara 2017"
    OPENS = "GetResponse 2020"
    OPEN_SHARE = "Mailchimp 2006"
    REPLIES = "Kooti et al. 2015"
    REVISITS = "our choice of number; the shape is in Alrashed et al. 2018"
    UNREAD = "our choice of number; seen in Di Castro et al. 2016"
    MACHINE = "our choice of number; upper bound in Gamzu et al. 2018"
    REFINDING = "our choice of number; the habit is in Whittaker et al. 2011"
    DEVICES = "our choice of number; seen in Li et al. 2020"


@dataclass(frozen=True, slots=True)
class Described:
    """A parameter as it is documented."""

    name: str
    default: Any
    unit: str
    meaning: str
    source: Source


def _parameter(default: Any, unit: str, source: Source, meaning: str) -> Any:
    return field(default=default, metadata={"unit": unit, "source": source, "meaning": meaning})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficModel:
    """All parameters. Shares lie between 0 and 1; a ``median`` and a ``spread`` describe a log-normal distribution (the
    spread is the standard deviation of the natural logarithm)."""

    # who gets how much, when
    owners: int = _parameter(200, "owners", Source.OURS, "mailboxes")
    mails_per_day: float = _parameter(20.0, "mails", Source.OURS, "deliveries to one owner on a weekday, on average")
    owner_skew: float = _parameter(
        0.8, "exponent", Source.SHAPE, "owners' shares of the deliveries follow Zipf's law with this exponent"
    )
    hours: tuple[float, ...] = _parameter(
        (0.3, 0.2, 0.2, 0.2, 0.2, 0.3, 0.5, 0.9, 1.6, 2.0, 2.0, 1.9,
         1.5, 1.7, 1.9, 1.9, 1.7, 1.4, 1.1, 0.9, 0.9, 0.8, 0.6, 0.4),
        "weights", Source.OURS, "deliveries by hour of the day (UTC)",
    )  # fmt: skip
    weekdays: tuple[float, ...] = _parameter(
        (1.0, 1.05, 1.05, 1.0, 0.9, 0.35, 0.3), "weights", Source.OURS, "deliveries by day, Monday first"
    )

    # what comes
    bulk_share: float = _parameter(
        0.45, "share", Source.MACHINE, "of deliveries: notices, newsletters, everything made by machines"
    )
    list_share: float = _parameter(0.15, "share", Source.OURS, "of deliveries: mailing lists, which come in bursts")
    junk_share: float = _parameter(0.05, "share", Source.OURS, "of deliveries: filed into Junk")
    lists: int = _parameter(20, "lists", Source.OURS, "mailing lists")
    list_readers: float = _parameter(0.1, "share", Source.OURS, "of the owners, subscribed to a list, on average")
    burst_mails: float = _parameter(4.0, "mails", Source.SHAPE, "in one burst of a list, on average (geometric)")
    burst_gap: float = _parameter(900.0, "seconds", Source.SHAPE, "between mails of a burst, on average (exponential)")
    list_folders: float = _parameter(0.5, "share", Source.OURS, "of subscriptions filed into a folder of their own")

    # how large
    size_median: float = _parameter(14_000.0, "bytes", Source.SIZES, "of mails without attachments")
    size_spread: float = _parameter(1.0, "log", Source.SIZES, "of mails without attachments")
    attachment_share: float = _parameter(0.12, "share", Source.OURS, "of personal mails with attachments")
    attachment_median: float = _parameter(250_000.0, "bytes", Source.SIZES, "of mails with attachments")
    attachment_spread: float = _parameter(1.5, "log", Source.SIZES, "of mails with attachments")
    size_least: int = _parameter(1_000, "bytes", Source.OURS, "no mail is smaller")
    size_most: int = _parameter(20_000_000, "bytes", Source.OURS, "no mail is larger: a usual limit of mail servers")

    # by what it is read
    download_share: float = _parameter(
        0.4, "share", Source.SEED, "of owners with a desktop client that downloads each mail once, opened or not"
    )
    mobile_share: float = _parameter(0.6, "share", Source.DEVICES, "of owners who use a second device as well")
    mobile_download_share: float = _parameter(
        0.3, "share", Source.OURS, "of second devices that download each mail once too; the others read what is opened"
    )
    download_delay: float = _parameter(
        120.0, "seconds", Source.OURS, "from delivery to download while the client runs, on average (exponential)"
    )
    desk_hours: tuple[int, int] = _parameter((8, 18), "hours", Source.OURS, "of the day (UTC) when desktop clients run")
    desk_days: int = _parameter(5, "days", Source.OURS, "of the week when desktop clients run, from Monday on; 1 to 7")

    # when it is opened, and again
    personal_opened: float = _parameter(0.95, "share", Source.OURS, "of personal mails opened at all")
    bulk_opened: float = _parameter(0.30, "share", Source.OPEN_SHARE, "of bulk mails opened at all")
    list_opened: float = _parameter(0.40, "share", Source.OURS, "of list mails opened at all")
    junk_opened: float = _parameter(0.03, "share", Source.OURS, "of junk opened at all")
    personal_delay: float = _parameter(
        1_500.0, "seconds", Source.OURS, "median from delivery to first open, personal: sooner than replies come"
    )
    bulk_delay: float = _parameter(21_000.0, "seconds", Source.OPENS, "median from delivery to first open, all others")
    delay_spread: float = _parameter(
        2.1, "log", Source.OPENS, "of both delays; what falls into the night waits for 7:00"
    )
    read_again: float = _parameter(
        0.35,
        "share",
        Source.REVISITS,
        "of personal mails opened again, and of those once more, and so on; others a third",
    )
    again_delay: float = _parameter(3_600.0, "seconds", Source.REVISITS, "median between two readings")
    again_spread: float = _parameter(2.8, "log", Source.REVISITS, "of the time between two readings")
    replied: float = _parameter(
        0.15, "share", Source.REPLIES, "of opened personal mails answered: read again, and a mail in Sent"
    )
    reply_delay: float = _parameter(2_820.0, "seconds", Source.REPLIES, "median from delivery to the reply: 47 minutes")
    reply_spread: float = _parameter(2.67, "log", Source.REPLIES, "of the delay to the reply: nine of ten within a day")
    in_thread: float = _parameter(0.4, "share", Source.OURS, "of personal and list mails that answer an earlier one")
    thread_read: float = _parameter(
        0.25, "share", Source.REFINDING, "of opened answers that make one read the earlier mail"
    )

    # searching
    searches_per_day: float = _parameter(0.6, "searches", Source.REFINDING, "of one owner on a weekday, on average")
    search_reads: float = _parameter(1.6, "mails", Source.OURS, "read in a search, on average (geometric)")
    remembered: int = _parameter(
        20_000, "mails", Source.OURS, "of an owner that can still be searched, scanned or deleted: bounds the memory"
    )

    # leaving
    deleted_unread: float = _parameter(
        0.15, "share", Source.UNREAD, "of mails never opened that are deleted all the same"
    )
    deleted_read: float = _parameter(0.30, "share", Source.REVISITS, "of opened mails deleted after the last reading")
    delete_delay: float = _parameter(600.0, "seconds", Source.REVISITS, "median from the last reading to the deletion")
    delete_spread: float = _parameter(3.0, "log", Source.REVISITS, "of the time to the deletion")
    trashed: float = _parameter(
        0.85, "share", Source.OURS, "of deletions that move the mail to Trash; others are final"
    )
    archived: float = _parameter(0.10, "share", Source.OURS, "of opened mails moved to Archive after the last reading")
    expiry_days: float = _parameter(30.0, "days", Source.OURS, "after which Trash and Junk are emptied")

    # machines
    backup_hour: int = _parameter(2, "hour", Source.OURS, "of the nightly backup (UTC), reason backup; -1: none")
    full_backup_days: int = _parameter(
        28, "days", Source.OURS, "between backups of everything; the others read what is new; 0: never"
    )
    backup_gap: float = _parameter(0.05, "seconds", Source.OURS, "between two reads of a backup")
    index_per_day: float = _parameter(0.004, "a day", Source.OURS, "chance that an owner's search index is made anew")
    index_gap: float = _parameter(0.1, "seconds", Source.OURS, "between two reads of an index run, reason index")
    scan_per_day: float = _parameter(0.01, "a day", Source.OURS, "chance of a virus scan over an owner's last week")
    scan_gap: float = _parameter(0.2, "seconds", Source.OURS, "between two reads of a virus scan, reason scan")
    resync_per_day: float = _parameter(
        0.004, "a day", Source.OURS, "chance that a new client downloads an owner's last weeks, unmarked, by UID"
    )
    resync_days: float = _parameter(30.0, "days", Source.OURS, "that a resync goes back")
    resync_gap: float = _parameter(0.4, "seconds", Source.OURS, "between two reads of a resync")

    def __post_init__(self) -> None:
        shares = [one.name for one in described() if one.unit == "share"]
        wrong = [name for name in shares if not 0 <= getattr(self, name) <= 1]
        if wrong or self.bulk_share + self.list_share + self.junk_share > 1:
            raise ValueError(f"shares lie between 0 and 1, and of deliveries they do not exceed 1: {', '.join(wrong)}")
        if self.owners < 1 or self.mails_per_day < 0 or len(self.hours) != 24 or len(self.weekdays) != 7:
            raise ValueError("at least one owner, no negative mails, 24 hours and 7 weekdays")
        if not 1 <= self.desk_days <= 7:
            raise ValueError("desktop clients run on 1 to 7 days of a week")


def described() -> tuple[Described, ...]:
    """Every parameter, in order."""
    return tuple(
        Described(one.name, one.default, one.metadata["unit"], one.metadata["meaning"], one.metadata["source"])
        for one in fields(TrafficModel)
    )


PROFILES: Mapping[str, Mapping[str, Any]] = {
    "office": {},
    "home": {
        "owners": 5, "mails_per_day": 25.0, "bulk_share": 0.65, "list_share": 0.1, "download_share": 0.3, "lists": 4,
        "list_readers": 0.3, "weekdays": (1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.8), "desk_hours": (7, 23), "desk_days": 7,
    },
    "isp": {
        "owners": 5000, "mails_per_day": 6.0, "owner_skew": 1.0, "bulk_share": 0.75, "list_share": 0.02,
        "junk_share": 0.13, "download_share": 0.2, "weekdays": (1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.8), "remembered": 2000,
        "searches_per_day": 0.1, "backup_hour": -1, "desk_hours": (7, 23), "desk_days": 7,
    },
}  # fmt: skip
"""What a profile changes: ``office`` is the defaults; ``home`` a family; ``isp`` many that get little. Our choices."""


def model_for(profile: str, **changes: Any) -> TrafficModel:
    """The model of ``profile`` with ``changes``. Raises KeyError, ValueError."""
    return replace(TrafficModel(), **(dict(PROFILES[profile]) | changes))

"""History without the people in it: what says who or what is replaced by keyed hashes, what says how much stays.

The same text becomes the same hash wherever it stands, so equal owners stay equal, and the step of a key that names its
owner still does: ``example.org/alice/...`` of ``alice@example.org`` becomes ``A/B/...`` of ``B@A``. Without the salt a
hash cannot be tried out against a list of names; whoever has the salt can.

Stays readable: times, sizes, kinds, outcomes, reasons, folder classes, the depth of keys, the words of mail formats
(``WORDS``), ``u.N`` and ``m.N`` of dbox, and known extensions.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

import polars as pl

from tierproxy.history import schema
from tierproxy.history.rows import object_id
from tierproxy.traffic import EventKind, Outcome, Reason

WORDS = frozenset({
    "mailboxes", "dbox-Mails", "Maildir", ".maildir", "mail", "sdbox", "mdbox", "storage", "idx", "cur", "new", "tmp",
    "INBOX", "dovecot.index", "dovecot.index.log", "dovecot.index.cache",
})  # fmt: skip
"""Steps of keys that every mail store has."""
EXTENSIONS = frozenset({"eml", "msg", "mbox", "gz", "bz2", "xz", "zst", "lz4", "txt", "html", "pdf", "zip", "bin"})
CLASSES = frozenset({"", "inbox", "sent", "drafts", "trash", "junk", "archive", "other"})
ENUMERATED = {
    "kind": frozenset(EventKind),
    "outcome": frozenset(Outcome) | {"", "both", "disk", "alt"},
    "reason": frozenset(Reason) | {""},
}
NUMBERED = re.compile(r"[um]\.[0-9]{1,10}")
DOMAIN = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z][A-Za-z0-9-]+")
REMEMBERED = 200_000
DIGEST = 8
"""Bytes of a hash: two of ten million names are equal by chance once in 370,000 exports."""


class Anonymiser:
    """One salt. Two exports with the same salt fit together; without it nobody can tell which hash is whose."""

    def __init__(self, salt: bytes) -> None:
        """``salt``: secret, any length; 32 random bytes are good."""
        self._key = hashlib.sha512(salt).digest()
        self.key = lru_cache(REMEMBERED)(self._name_of_key)
        self._step = lru_cache(REMEMBERED)(self._name_of_step)
        self._other = lru_cache(REMEMBERED)(self._hash)

    def __repr__(self) -> str:
        return "<Anonymiser>"

    def frame(self, frame: pl.DataFrame) -> pl.DataFrame:
        """``frame`` (of the schema) with every name replaced. ``object`` is that of the new bucket and key."""
        buckets = [self.bucket(bucket) for bucket in frame["bucket"].cast(pl.String).to_list()]
        keys = [self.key(key) for key in frame["key"].to_list()]
        known = [_only(column, values) for column, values in ENUMERATED.items()]
        replaced = frame.with_columns(
            *known,
            pl.Series("bucket", buckets),
            pl.Series("key", keys),
            pl.Series("object", [object_id(*name) for name in zip(buckets, keys, strict=True)], dtype=pl.UInt64),
            pl.Series("owner", [self.owner(owner) for owner in frame["owner"].to_list()], dtype=pl.String),
            pl.Series("folder", [self.folder(name) for name in frame["folder"].cast(pl.String).to_list()]),
            pl.Series("client", [self.client(client) for client in frame["client"].to_list()], dtype=pl.String),
            pl.Series("by", [self.reason_of_purge(by) for by in frame["by"].cast(pl.String).to_list()]),
        )
        return schema.conform(replaced)

    def bucket(self, bucket: str) -> str:
        return self._other("bucket", bucket)

    def client(self, client: str) -> str:
        return self._other("client", client) if client else ""

    def folder(self, folder: str) -> str:
        """Classes stay, names go."""
        return folder if folder in CLASSES else self._other("folder", folder)

    def owner(self, owner: str) -> str:
        """As the steps of keys: ``user@domain`` part by part."""
        return self._step(owner, False) if owner else ""

    def reason_of_purge(self, by: str) -> str:
        """What rules are called goes, too."""
        if by in {"", "pressure", "operator", "repair"}:
            return by
        kind, colon, name = by.partition(":")
        return f"rule:{self._other('rule', name)}" if colon and kind == "rule" else self._other("by", by)

    def _name_of_key(self, key: str) -> str:
        return "/".join(self._step(step, True) for step in key.split("/"))

    def _name_of_step(self, step: str, structure: bool) -> str:
        """``structure``: words of mail formats, numbers and extensions may stay."""
        if not step:
            return ""
        if structure and (step in WORDS or NUMBERED.fullmatch(step)):
            return step
        user, at, domain = step.rpartition("@")
        if at and user and domain:
            return f"{self._hash('step', user)}@{self._domain(domain)}"
        if DOMAIN.fullmatch(step) and not _extension(step):
            return self._domain(step)
        return self._hash("step", step) + (_extension(step) if structure else "")

    def _domain(self, domain: str) -> str:
        """Still seen to be one, so that the owner can still be told from the key."""
        return self._hash("step", domain) + (".invalid" if DOMAIN.fullmatch(domain) else "")

    def _hash(self, what: str, text: str) -> str:
        digest = hashlib.blake2b(
            text.encode(errors="replace"), key=self._key, digest_size=DIGEST, person=what.encode()[:16]
        )
        return digest.hexdigest()


def _extension(step: str) -> str:
    """``.eml`` where the step ends with a known one."""
    stem, dot, extension = step.rpartition(".")
    return f".{extension}" if stem and dot and extension in EXTENSIONS else ""


def _only(column: str, known: frozenset[str]) -> pl.Expr:
    """Words we know; an imported file may have written names there."""
    text = pl.col(column).cast(pl.String)
    return pl.when(text.is_in(sorted(known))).then(text).otherwise(pl.lit("")).alias(column)

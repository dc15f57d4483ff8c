"""Alt's buckets at start: do they exist, can they be written, and will they keep what is put there?"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from tierproxy.alt.answers import FOREIGN, error_of
from tierproxy.alt.client import boto_session, s3_client
from tierproxy.alt.mapping import Place
from tierproxy.alt.stores import FROZEN
from tierproxy.config.sections import AltSection
from tierproxy.errors import AltError, AltRefused

if TYPE_CHECKING:
    import boto3


class Level(StrEnum):
    """What an operator should make of a finding."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing seen of a bucket."""

    level: Level
    bucket: str
    text: str


class BucketCheck:
    """Looks at alt's buckets through boto3. Blocking: run it in a thread."""

    def __init__(self, section: AltSection, session: boto3.Session | None = None) -> None:
        self._client: Any = s3_client(section, session or boto_session(section))

    def run(self, places: Sequence[Place]) -> list[Finding]:
        """All findings about ``places``. Alt being down is an ERROR finding of kind "does not answer", no exception."""
        findings: list[Finding] = []
        for bucket in dict.fromkeys(place.bucket for place in places):
            prefixes = [place.prefix for place in places if place.bucket == bucket]
            try:
                findings += self._check(bucket, prefixes)
            except AltError as error:
                findings.append(Finding(Level.ERROR, bucket, f"{error} ({error.hint})"))
        return findings

    def create(self, bucket: str) -> None:
        """CreateBucket; one's own that is there is fine. Raises AltError."""
        try:
            self._call("create_bucket", bucket)
        except AltError as error:
            if not _says(error, "BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise

    def close(self) -> None:
        self._client.close()

    def _check(self, bucket: str, prefixes: Sequence[str]) -> list[Finding]:
        """Existence and permission raise; the rest is found out as far as the server lets us."""
        self._call("head_bucket", bucket)
        for prefix in prefixes:
            self._write(bucket, prefix)
        return [*self._versioning(bucket), *self._lifecycle(bucket, prefixes)]

    def _write(self, bucket: str, prefix: str) -> None:
        key = f"{prefix}tierproxy-probe-{secrets.token_hex(8)}"
        self._call("put_object", bucket, Key=key, Body=b"probe")
        self._call("delete_object", bucket, Key=key)

    def _versioning(self, bucket: str) -> list[Finding]:
        try:
            status = self._call("get_bucket_versioning", bucket).get("Status", "off")
        except AltError as error:
            return [Finding(Level.INFO, bucket, f"versioning is not known: {error}")]
        if status == "Enabled":
            text = (
                "versioning is on: deleted and overwritten mail stays there, and costs, until a lifecycle rule ends it"
            )
            return [Finding(Level.WARNING, bucket, text)]
        return [Finding(Level.INFO, bucket, f"versioning is {status.lower()}")]

    def _lifecycle(self, bucket: str, prefixes: Sequence[str]) -> list[Finding]:
        try:
            rules = self._call("get_bucket_lifecycle_configuration", bucket).get("Rules", [])
        except AltError as error:
            if _says(error, "NoSuchLifecycleConfiguration"):
                return [Finding(Level.INFO, bucket, "there are no lifecycle rules")]
            return [Finding(Level.INFO, bucket, f"lifecycle rules are not known: {error}")]
        return [Finding(Level.WARNING, bucket, text) for rule in rules for text in dangers(rule, prefixes)]

    def _call(self, operation: str, bucket: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, operation)(Bucket=bucket, **arguments)
        except ClientError as error:
            if operation == "head_bucket" and error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                raise AltRefused(f"alt has no bucket {bucket}", hint="create it, or correct alt_bucket") from error
            raise error_of(error, bucket, change=False) from error
        except FOREIGN as error:
            raise error_of(error, bucket, change=False) from error


def dangers(rule: dict[str, Any], prefixes: Sequence[str]) -> list[str]:
    """What a lifecycle rule (S3 API, LifecycleRule) would do to mail below ``prefixes``: delete it, or freeze it."""
    if rule.get("Status") != "Enabled" or not any(_overlap(_prefix_of(rule), prefix) for prefix in prefixes):
        return []
    name = f"lifecycle rule {rule.get('ID') or '(no name)'!r} on prefix {_prefix_of(rule)!r}"
    found = []
    if expiry := {k: v for k, v in rule.get("Expiration", {}).items() if k in {"Days", "Date"}}:
        found.append(f"{name} deletes mail ({', '.join(f'{k} {v}' for k, v in expiry.items())})")
    found += [
        f"{name} moves mail to {step['StorageClass']}, where it cannot be read without a restore"
        for step in rule.get("Transitions", [])
        if step.get("StorageClass") in FROZEN
    ]
    return found


def _prefix_of(rule: dict[str, Any]) -> str:
    """The rule's prefix in any of the three places it can stand."""
    where = rule.get("Filter", {})
    return str(where.get("Prefix") or where.get("And", {}).get("Prefix") or rule.get("Prefix") or "")


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _says(error: AltError, *codes: str) -> bool:
    cause = error.__cause__
    return isinstance(cause, ClientError) and cause.response.get("Error", {}).get("Code") in codes


def check_buckets(section: AltSection, places: Sequence[Place]) -> list[Finding]:
    """``BucketCheck.run`` with a client of its own."""
    with contextlib.closing(BucketCheck(section)) as check:
        return check.run(places)

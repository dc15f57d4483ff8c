"""boto3 clients and their credentials: the AWS reference, for what obstore lacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError

from tierproxy.config.sections import AltSection
from tierproxy.errors import ConfigError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def secret_of(section: AltSection) -> str:
    """The secret of ``access_key_id``, from the option or its file. Raises ConfigError."""
    if section.secret_access_key or not section.secret_access_key_file:
        return section.secret_access_key
    try:
        return Path(section.secret_access_key_file).read_text().strip()
    except OSError as error:
        raise ConfigError(f"[alt] secret_access_key_file cannot be read: {error}") from error


def boto_session(section: AltSection) -> boto3.Session:
    """Static keys when they are configured, else boto3's chain: environment, profile, files, instance role.

    Raises ConfigError when a static key has no secret or the profile does not exist.
    """
    try:
        if not section.access_key_id:
            return boto3.Session(profile_name=section.profile or None, region_name=section.region)
        if not (secret := secret_of(section)):
            raise ConfigError("[alt] access_key_id is set, but its secret is not")
        return boto3.Session(section.access_key_id, secret, region_name=section.region)
    except BotoCoreError as error:
        raise ConfigError(f"[alt] credentials: {error}") from error


def s3_client(section: AltSection, session: boto3.Session | None = None) -> S3Client:
    """A client with this configuration's timeouts. Thread-safe; ``close`` it.

    One try per call: a change that timed out is uncertain, and a second one hidden inside would answer for both.
    Checksums only where the operation demands them, because older S3 servers do not know the trailing ones.
    """
    config = BotoConfig(
        connect_timeout=float(section.connect_timeout),
        read_timeout=float(section.request_timeout),
        retries={"total_max_attempts": 1, "mode": "standard"},
        s3={"addressing_style": "path" if section.path_style else "virtual"},
        signature_version="s3v4",
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        max_pool_connections=max(10, section.concurrency),
    )
    client = (session or boto_session(section)).client("s3", endpoint_url=section.endpoint or None, config=config)
    client.meta.events.register_last("before-parameter-build.s3", _stay)
    return client


def _stay(context: dict[str, Any], **_: object) -> None:
    """Have a redirect answered with an error: boto3 would ask HeadBucket where to go, and to a server (a proxy, say)
    that redirects that as well it would ask for ever."""
    context.setdefault("s3_redirect", {})["redirected"] = True

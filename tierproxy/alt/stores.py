"""obstore's clients of alt's buckets, with every timeout, retry and credential set: nothing from the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.store import S3Store

from tierproxy.alt.client import secret_of
from tierproxy.config.sections import AltSection
from tierproxy.errors import ConfigError

if TYPE_CHECKING:
    import boto3

FROZEN = {"GLACIER", "DEEP_ARCHIVE"}  #: classes whose objects cannot be read before a restore
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
NOBODY = "http://127.0.0.1:0"  #: port 0 cannot be connected to
FOREVER = timedelta(days=7)


class Stores:
    """One pair of obstore clients a bucket. Nothing is tried again inside obstore: whoever tries a change again must
    know whether the try before was sent, and second tries have a budget (``tierproxy.alt.budget``) that obstore does
    not know. Raises ConfigError."""

    def __init__(self, section: AltSection, session: boto3.Session) -> None:
        check_section(section)
        self._section = section
        self._credentials = credential_provider(section, session)
        self._certificates = _certificates(os.environ)
        self._elsewhere = nowhere(section, os.environ)
        self._reading: dict[str, S3Store] = {}
        self._changing: dict[str, S3Store] = {}

    def reading(self, bucket: str) -> S3Store:
        """A read's timeout begins anew with every piece that arrives: a long body is no slow body."""
        if bucket not in self._reading:
            timeouts = {"read_timeout": _seconds(self._section.request_timeout), "timeout": FOREVER}
            self._reading[bucket] = self._store(bucket, timeouts)
        return self._reading[bucket]

    def changing(self, bucket: str) -> S3Store:
        if bucket not in self._changing:
            self._changing[bucket] = self._store(bucket, {"timeout": _seconds(self._section.request_timeout)})
        return self._changing[bucket]

    def _store(self, bucket: str, timeouts: dict[str, timedelta]) -> S3Store:
        section = self._section
        client: dict[str, Any] = {
            "allow_http": section.endpoint.startswith("http://"),
            "connect_timeout": _seconds(section.connect_timeout),
            **timeouts,
            **self._elsewhere,
        }
        if self._certificates:
            client["root_certificate"] = self._certificates
        retry = {"max_retries": 0, "retry_timeout": _seconds(section.retry_timeout), "backoff": BACKOFF}
        return S3Store(
            bucket,
            config=self._config(bucket),  # type: ignore[arg-type]
            client_options=client,  # type: ignore[arg-type]
            retry_config=retry,  # type: ignore[arg-type]
            credential_provider=self._credentials,
        )

    def _config(self, bucket: str) -> dict[str, Any]:
        section = self._section
        config: dict[str, Any] = {
            "region": section.region,
            "virtual_hosted_style_request": not section.path_style,
            "skip_signature": False,
        }
        if section.endpoint:
            endpoint = section.endpoint if section.path_style else _with_host(section.endpoint, bucket)
            config |= {"endpoint": endpoint, "aws_endpoint_url_s3": endpoint}
        if section.checksum:
            config["checksum_algorithm"] = "sha256"
        if section.server_side_encryption:
            config["server_side_encryption"] = section.server_side_encryption
        if section.sse_kms_key_id:
            config["sse_kms_key_id"] = section.sse_kms_key_id
        return config


BACKOFF = {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2}


def check_section(section: AltSection) -> None:
    """Raises ConfigError for options that cannot be."""
    if section.storage_class in FROZEN:
        raise ConfigError(f"[alt] storage_class {section.storage_class}: its objects cannot be read without a restore")
    if section.server_side_encryption not in {"", "AES256", "aws:kms"}:
        raise ConfigError("[alt] server_side_encryption must be AES256 or aws:kms")
    if section.sse_kms_key_id and section.server_side_encryption != "aws:kms":
        raise ConfigError("[alt] sse_kms_key_id needs server_side_encryption = aws:kms")
    if section.endpoint and urlsplit(section.endpoint).scheme not in {"http", "https"}:
        raise ConfigError(f"[alt] endpoint {section.endpoint!r} must begin with http:// or https://")
    if section.multipart_part_size < 5 * 2**20:
        raise ConfigError("[alt] multipart_part_size must be at least 5MiB, as S3 demands")


def credential_provider(section: AltSection, session: boto3.Session) -> Callable[[], Any]:
    """Always a provider, for static keys too: else obstore adds AWS_SESSION_TOKEN of the environment to them."""
    if section.access_key_id:
        static = {"access_key_id": section.access_key_id, "secret_access_key": secret_of(section)}
        return lambda: {**static, "token": None, "expires_at": None}
    try:
        return Boto3CredentialProvider(session, ttl=timedelta(minutes=5))
    except ValueError as error:
        hint = "set access_key_id, a profile, or AWS's environment variables"
        raise ConfigError("[alt] boto3's chain finds no credentials", hint=hint) from error


def _certificates(environment: Mapping[str, str]) -> str:
    """The user's own certificate authorities: obstore does not look at these variables by itself."""
    path = environment.get("AWS_CA_BUNDLE") or environment.get("SSL_CERT_FILE")
    if not path:
        return ""
    try:
        return Path(path).read_text()
    except OSError as error:
        raise ConfigError(f"the certificate bundle {path} cannot be read: {error}") from error


def nowhere(section: AltSection, environment: Mapping[str, str]) -> dict[str, str]:
    """obstore follows redirects (without the signature, but with the rest) and cannot be told not to. So everything but
    the S3 server itself is behind a proxy that is not there. Where the environment names a real one nothing is
    changed."""
    if any(environment.get(name) or environment.get(name.lower()) for name in PROXIES):
        return {}
    return {"proxy_url": NOBODY, "proxy_excludes": urlsplit(section.endpoint).hostname or "amazonaws.com"}


def _with_host(endpoint: str, bucket: str) -> str:
    """obstore wants the bucket in the endpoint of virtual-host-style requests."""
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{bucket}.{parts.netloc}"


def _seconds(duration: float) -> timedelta:
    return timedelta(seconds=duration)

"""What must hold between options, and within one where the type does not say it."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from tierproxy.config.convert import Path, Problems
from tierproxy.config.credentials import PasswordHash, is_token_hash
from tierproxy.config.operators import AccountSection, AdminSection
from tierproxy.config.sections import BucketSection, Config, KeySection, ListenSection
from tierproxy.errors import ConfigError
from tierproxy.model import Ack

RESTORE_CLASSES = {"GLACIER", "DEEP_ARCHIVE"}
"""Storage classes whose objects cannot be read before a restore (S3 RestoreObject)."""

LEAST_STUBS = 2**20
"""Bytes; an empty database takes some of them."""
STUBS = 16  #: of the largest kind must fit: making room for one must not be the end of all others

_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_FORBIDDEN_STARTS = ("xn--", "sthree-", "amzn-s3-demo-")
_FORBIDDEN_ENDS = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def examine(config: Config, problems: Problems, warnings: list[str]) -> None:
    """Add what is wrong to ``problems`` and what is doubtful to ``warnings``."""
    for check in _CHECKS:
        for path, text in check(config):
            problems.add(path, text)
    for doubt in _DOUBTS:
        warnings.extend(doubt(config))


Finding = tuple[Path, str]


def host_and_port(address: str) -> tuple[str, int]:
    """``127.0.0.1:9300``, ``[::1]:9300``, ``:9300`` (every address). Raises ConfigError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{address!r} is not host:port")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ConfigError(f"{address!r} is not host:port: write an IPv6 address in brackets, as in [::1]:9300")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104  an empty host means every address, as everywhere


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bucket_name_fault(name: str) -> str:
    """What S3's naming rules for general purpose buckets say against ``name``; empty when nothing."""
    if not 3 <= len(name) <= 63:
        return f"a bucket name has 3 to 63 characters, {name!r} has {len(name)}"
    if not _BUCKET_NAME.fullmatch(name):
        return (
            f"{name!r}: a bucket name has only a-z, 0-9, dots and hyphens, and begins and ends with a letter or digit"
        )
    if ".." in name or re.fullmatch(r"\d+\.\d+\.\d+\.\d+", name):
        return f"{name!r}: a bucket name has no two dots in a row and is not an IP address"
    if name.startswith(_FORBIDDEN_STARTS) or name.endswith(_FORBIDDEN_ENDS):
        return f"{name!r}: S3 keeps names with this beginning or end for itself"
    return ""


def _node(config: Config) -> Iterator[Finding]:
    if not config.node.data_dir:
        yield ("node", "data_dir"), "must not be empty"


def _listen(config: Config) -> Iterator[Finding]:
    listen = config.listen
    if not listen.address and not listen.unix_socket:
        yield ("listen",), "nothing to listen on: set address, unix_socket or both"
    if listen.address:
        try:
            host, _ = host_and_port(listen.address)
        except ConfigError as error:
            yield ("listen", "address"), str(error)
        else:
            if listen.auth == "none" and not is_loopback(host):
                yield (
                    ("listen", "auth"),
                    f"none lets everybody who reaches {listen.address} delete all objects: use sigv4 or loopback",
                )
    if not re.fullmatch(r"0?[0-7]{3}", listen.unix_socket_mode):
        yield ("listen", "unix_socket_mode"), f'{listen.unix_socket_mode!r} is not an octal file mode, as in "0660"'
    if listen.domain and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", listen.domain):
        yield ("listen", "domain"), f"{listen.domain!r} is not a host name"
    if not listen.region:
        yield ("listen", "region"), "must not be empty: clients sign for a region"


def _workers(config: Config) -> Iterator[Finding]:
    listen = config.listen
    if listen.workers and sys.platform != "linux":
        yield ("listen", "workers"), "needs Linux (SO_REUSEPORT, shared memory): set 0"
    if listen.workers and not listen.address:
        yield ("listen", "workers"), "share the TCP address, and there is none: set address, or 0"


def _tls(config: Config) -> Iterator[Finding]:
    yield from _pair("listen", config.listen)
    if config.admin.enabled:
        yield from _pair("admin", config.admin)


def _pair(section: str, listen: ListenSection | AdminSection) -> Iterator[Finding]:
    if bool(listen.tls_certificate) is not bool(listen.tls_key):
        missing = "tls_key" if listen.tls_certificate else "tls_certificate"
        yield (section, missing), "is missing: a certificate and its key come together"
    for name in ("tls_certificate", "tls_key"):
        file = getattr(listen, name)
        if file and not os.access(file, os.R_OK):
            yield (section, name), f"cannot read {file}"


def admin_fault(admin: AdminSection) -> tuple[str, str]:
    """The option of ``[admin]`` that would let passwords travel in the clear, or everybody in, and what is wrong with
    it; empty texts when nothing is. Raises ConfigError for an address that is none."""
    host, _ = host_and_port(admin.address)
    if is_loopback(host):
        return "", ""
    if not admin.tls_certificate and not admin.behind_proxy:
        return "address", (
            f"passwords would travel to {admin.address} in the clear: set tls_certificate and tls_key, or behind_proxy "
            "when a reverse proxy ends TLS, or listen on 127.0.0.1"
        )
    return "", ""


def _admin(config: Config) -> Iterator[Finding]:
    admin = config.admin
    if not admin.enabled:
        return
    try:
        option, fault = admin_fault(admin)
    except ConfigError as error:
        option, fault = "address", str(error)
    if fault:
        yield ("admin", option), fault
    elif admin.address == config.listen.address and not admin.address.endswith(":0"):
        yield ("admin", "address"), f"{admin.address} is the object port: choose another"
    yield from _proxies(admin)
    for host in admin.allowed_hosts:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", host):
            yield (
                ("admin", "allowed_hosts"),
                f"{host!r} is not a host name: without scheme and port, as in t.example.com",
            )
    if admin.session_idle > admin.session_lifetime:
        yield ("admin", "session_idle"), "is longer than session_lifetime: it would never end a login"


def _proxies(admin: AdminSection) -> Iterator[Finding]:
    for proxy in admin.behind_proxy:
        try:
            network = ipaddress.ip_network(proxy)
        except ValueError:
            yield ("admin", "behind_proxy"), f"{proxy!r} is not an address or a network, as in 10.0.0.5 or 10.0.0.0/24"
        else:
            if network.prefixlen == 0:
                yield ("admin", "behind_proxy"), f"{proxy} would believe everybody: name the proxies"
    if admin.behind_proxy and not admin.allowed_hosts:
        yield ("admin", "allowed_hosts"), "is empty: name the host browsers reach the proxy by"


def _accounts(config: Config) -> Iterator[Finding]:
    counts = Counter(account.name for account in config.account)
    for number, account in enumerate(config.account):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", account.name):
            yield ("account", number, "name"), f"{account.name!r} is not made of letters, digits, . _ @ and hyphens"
        if counts[account.name] > 1:
            yield ("account", number, "name"), f"there are {counts[account.name]} accounts called {account.name}"
        yield from _credentials(account, number)


def _credentials(account: AccountSection, number: int) -> Iterator[Finding]:
    if not (account.password or account.password_file or account.token):
        yield ("account", number), "nobody can log in: give password, password_file or token"
    if account.password:
        try:
            PasswordHash.parse(account.password)
        except ConfigError as error:
            yield ("account", number, "password_file" if account.password_file else "password"), str(error)
    if account.token and not is_token_hash(account.token):
        yield ("account", number, "token"), "is not a hash: make a token and its hash with `tierproxy admin token`"


def _alt(config: Config) -> Iterator[Finding]:
    alt = config.alt
    url = urlsplit(alt.endpoint)
    if alt.endpoint and (url.scheme not in {"http", "https"} or not url.hostname):
        yield ("alt", "endpoint"), f"{alt.endpoint!r} is not a URL, as in https://s3.example.com"
    elif url.path.strip("/") or url.query or url.username:
        yield (
            ("alt", "endpoint"),
            "has more than scheme, host and port; buckets belong in [[bucket]], keys in access_key_id",
        )
    if bool(alt.access_key_id) is not bool(alt.secret_access_key):
        yield ("alt",), "access_key_id and its secret come together; leave both empty for boto3's credential chain"
    if alt.profile and alt.access_key_id:
        yield ("alt", "profile"), "is given with access_key_id: only one can be used"
    if not alt.region:
        yield ("alt", "region"), "must not be empty; most S3 servers other than AWS take us-east-1"
    if alt.storage_class in RESTORE_CLASSES:
        yield (
            ("alt", "storage_class"),
            f"objects of {alt.storage_class} cannot be read before a restore: choose another",
        )
    if alt.sse_kms_key_id and alt.server_side_encryption != "aws:kms":
        yield ("alt", "sse_kms_key_id"), 'needs server_side_encryption = "aws:kms"'
    if alt.multipart_part_size > 5 * 2**30 or alt.multipart_threshold > 5 * 2**30:
        yield ("alt",), "multipart_threshold and multipart_part_size are at most 5GiB: S3 takes no larger request"


def _budgets(config: Config) -> Iterator[Finding]:
    disk, queue, memory = config.disk, config.queue, config.memory
    if not 0 < disk.low_water < disk.high_water <= disk.hard_limit:
        yield (
            ("disk",),
            f"low_water < high_water <= hard_limit is not so: {disk.low_water}, {disk.high_water}, {disk.hard_limit}",
        )
    if disk.min_free.percent is not None and disk.min_free.percent >= 100:
        yield ("disk", "min_free"), f"{disk.min_free.percent:g}% of the file system can never be free"
    if queue.max_backoff < queue.backoff:
        yield ("queue", "max_backoff"), "is shorter than backoff"
    if 0 < memory.max_bytes < memory.max_object:
        yield ("memory", "max_object"), "is larger than max_bytes: such an object never fits"
    stubs = config.stubs
    if 0 < stubs.max_bytes < LEAST_STUBS:
        yield ("stubs", "max_bytes"), "is less than 1MiB: write that, or 0 for no stubs"
    elif 0 < stubs.max_bytes < STUBS * (stubs.head + stubs.tail):
        yield ("stubs", "head"), f"head and tail are too large: not even {STUBS} such stubs fit into max_bytes"


def _buckets(config: Config) -> Iterator[Finding]:
    counts = Counter(bucket.name for bucket in config.bucket)
    for number, bucket in enumerate(config.bucket):
        if fault := bucket_name_fault(bucket.name):
            yield ("bucket", number, "name"), fault
        if counts[bucket.name] > 1:
            yield ("bucket", number, "name"), f"there are {counts[bucket.name]} buckets called {bucket.name}"
        if bucket.alt_bucket and (fault := bucket_name_fault(bucket.alt_bucket)):
            yield ("bucket", number, "alt_bucket"), fault
        if fault := _prefix_fault(bucket.alt_prefix):
            yield ("bucket", number, "alt_prefix"), fault
        if any(not policy.key for policy in bucket.policy):
            yield ("bucket", number), "a policy's key is empty and matches nothing; * matches every key"
    if not config.bucket and not config.dynamic_buckets.enabled:
        yield ("bucket",), "no bucket: add a [[bucket]] section, or set [dynamic_buckets] enabled"


def _prefix_fault(prefix: str) -> str:
    if prefix.startswith("/") or "//" in prefix or any(step in {".", ".."} for step in prefix.split("/")):
        return f"{prefix!r} begins with / or has an empty, . or .. step, which S3 clients do not agree on"
    if len(prefix.encode()) > 256:
        return "is longer than 256 bytes, which leaves too little of S3's 1024 for keys"
    return ""


def _dynamic(config: Config) -> Iterator[Finding]:
    dynamic = config.dynamic_buckets
    if not dynamic.enabled:
        return
    if (
        fault := bucket_name_fault(dynamic.alt_bucket)
        if dynamic.alt_bucket
        else "is missing: where the buckets are kept"
    ):
        yield ("dynamic_buckets", "alt_bucket"), fault
    if fault := _prefix_fault(dynamic.alt_prefix):
        yield ("dynamic_buckets", "alt_prefix"), fault


@dataclass(frozen=True, slots=True)
class _Space:
    """Where a bucket's objects are in alt."""

    path: Path
    owner: str
    bucket: str
    prefix: str

    def overlaps(self, other: _Space) -> bool:
        near = self.prefix.startswith(other.prefix) or other.prefix.startswith(self.prefix)
        return self.bucket == other.bucket and near


def _overlaps(config: Config) -> Iterator[Finding]:
    """Two buckets that share keys in alt would overwrite and delete each other's objects."""
    spaces = [_space(number, bucket) for number, bucket in enumerate(config.bucket)]
    dynamic = config.dynamic_buckets
    if dynamic.enabled:
        spaces.append(
            _Space(("dynamic_buckets", "alt_prefix"), "[dynamic_buckets]", dynamic.alt_bucket, dynamic.alt_prefix)
        )
    for index, space in enumerate(spaces):
        for earlier in spaces[:index]:
            if space.overlaps(earlier) and space.owner != earlier.owner:
                where = f"{space.bucket}/{space.prefix} and {earlier.bucket}/{earlier.prefix}"
                yield (
                    space.path,
                    f"{space.owner} and {earlier.owner} share keys in alt ({where}): choose another alt_prefix",
                )


def _space(number: int, bucket: BucketSection) -> _Space:
    return _Space(("bucket", number), bucket.name, bucket.alt_bucket or bucket.name, bucket.alt_prefix)


def _keys(config: Config) -> Iterator[Finding]:
    if not config.key and config.listen.auth == "sigv4":
        yield ("key",), 'no key: add a [[key]] section, or set [listen] auth = "none" on a loopback address'
    counts = Counter(key.access_key_id for key in config.key)
    for number, key in enumerate(config.key):
        if not re.fullmatch(r"[A-Za-z0-9._-]+", key.access_key_id):
            yield (
                ("key", number, "access_key_id"),
                f"{key.access_key_id!r} is not made of letters, digits, dots, hyphens and _",
            )
        if counts[key.access_key_id] > 1:
            yield (
                ("key", number, "access_key_id"),
                f"there are {counts[key.access_key_id]} keys called {key.access_key_id}",
            )
        yield from _reach(key, number, config)


def _reach(key: KeySection, number: int, config: Config) -> Iterator[Finding]:
    """The buckets a key names must exist: a spelling mistake would lock its client out."""
    names = [bucket.name for bucket in config.bucket]
    for pattern in key.buckets:
        bucket = pattern.partition("/")[0]
        if bucket != "*" and bucket not in names and not config.dynamic_buckets.enabled:
            close = difflib.get_close_matches(bucket, names, n=1, cutoff=0.6)
            guess = f"; did you mean {close[0]}?" if close else ""
            yield ("key", number, "buckets"), f"there is no bucket {bucket!r}{guess}"


def _naming(config: Config) -> Iterator[Finding]:
    for number, naming in enumerate(config.naming):
        try:
            groups = re.compile(naming.pattern).groupindex
        except (re.error, RecursionError, OverflowError) as error:
            yield ("naming", number, "pattern"), f"is no regular expression: {error}"
            continue
        if "owner" not in groups:
            yield ("naming", number, "pattern"), "has no group owner: write (?P<owner>[^/]+) where the user's name is"
        for group in sorted(groups.keys() - {"owner", "folder"}):
            yield ("naming", number, "pattern"), f"has the group {group}: only owner and folder mean something"
        if not naming.bucket:
            yield ("naming", number, "bucket"), "is empty and matches no bucket; * matches every bucket"


def _useless_options(config: Config) -> Iterator[str]:
    for bucket in config.bucket:
        ack = bucket.ack or config.write.ack
        if bucket.on_alt_down is not None and ack is not Ack.BOTH:
            yield f"bucket {bucket.name}: on_alt_down has no effect with ack = {ack}"
        if bucket.revalidate and bucket.exclusive:
            yield f"bucket {bucket.name}: revalidate has no effect with exclusive = true"
        if bucket.alt_prefix and not bucket.alt_prefix.endswith("/"):
            yield f"bucket {bucket.name}: alt_prefix {bucket.alt_prefix} does not end with /: keys follow it directly"


def _useless_workers(config: Config) -> Iterator[str]:
    if config.listen.workers and not config.lane_answers:
        yield (
            "[listen] workers has no effect with hit_lane = false, access_log or otel_endpoint: workers answer what "
            "the hit lane answers"
        )


def _useless_admin(config: Config) -> Iterator[str]:
    admin = config.admin
    if not admin.enabled and config.account:
        yield "[[account]] has no effect with [admin] enabled = false"
    if admin.enabled and admin.metrics == "open" and not is_loopback(admin.address.rpartition(":")[0].strip("[]")):
        yield f"/metrics on {admin.address} is open to everybody who reaches it ([admin] metrics)"


def _weak_secrets(config: Config) -> Iterator[str]:
    for key in config.key:
        if len(key.secret) < 16:
            yield f"the secret of key {key.access_key_id} is short; S3 secrets have 40 random characters"


_CHECKS: tuple[Callable[[Config], Iterator[Finding]], ...] = (
    _node, _listen, _workers, _tls, _alt, _budgets, _buckets, _dynamic, _overlaps, _keys, _naming,
    _admin, _accounts,
)  # fmt: skip
_DOUBTS: tuple[Callable[[Config], Iterator[str]], ...] = (
    _useless_options, _useless_workers, _useless_admin, _weak_secrets,
)  # fmt: skip

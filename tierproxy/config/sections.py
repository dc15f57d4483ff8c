"""Every option of tierproxy, declared once: name, type, default, help, and whether a reload applies it.

``tierproxy config describe``, ``config/tierproxy.toml`` and ``docs/configuration.md`` are generated from here.
A class is a TOML table; a tuple of classes is an array of tables. Environment: ``TIERPROXY_<SECTION>_<OPTION>``.
"""

# The calls in class bodies make dataclass fields: ruff cannot see through option().
# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tierproxy.config.declare import option, required
from tierproxy.config.operators import AccountSection, AdminSection
from tierproxy.config.values import Duration, Share, Size
from tierproxy.model import Ack, FillPolicy, OnAltDown

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]
Auth = Literal["sigv4", "none"]
Access = Literal["read", "write"]
Encryption = Literal["", "AES256", "aws:kms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSection:
    """This node."""

    data_dir: str = option(
        "./var/data",
        "directory of blobs, catalogue and staged files; one process owns it. Relative paths, here and below, start at "
        "the working directory",
    )
    user: str = option(
        "",
        "started by root, go on as this user (name or number) once ports are bound and secrets read; empty: stay who "
        "started it",
    )
    group: str = option("", "group of that user to go on with; empty for its own")
    log_level: LogLevel = option("info", "which log lines are written", reload=True)
    log_format: LogFormat = option("text", "json writes one object a line")
    access_log: bool = option(False, "log one line per request")
    otel_endpoint: str = option(
        "",
        "URL of an OpenTelemetry receiver (OTLP over HTTP, as in http://localhost:4318/v1/traces) for spans of "
        "requests and of calls of alt: needs the extra tierproxy[otel]; empty for none",
    )
    shutdown_grace: Duration = option(
        Duration(20), "how long running requests and uploads may take at shutdown; the rest stays in the journal"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenSection:
    """The object port: where S3 clients connect."""

    address: str = option("127.0.0.1:9300", "host:port for TCP, port 0 for a free one; empty for none")
    unix_socket: str = option("", "path of a unix socket to listen on as well; empty for none")
    unix_socket_mode: str = option("0660", "file permissions of the unix socket, octal")
    tls_certificate: str = option(
        "", "PEM file with the certificate chain; empty for plain HTTP. Read again when it changes", reload=True
    )
    tls_key: str = option("", "PEM file with the private key of tls_certificate", reload=True)
    auth: Auth = option(
        "sigv4", "none is refused unless the address is loopback; the unix socket has its file permissions"
    )
    region: str = option("us-east-1", "the region clients sign for")
    domain: str = option(
        "", "domain for virtual-host-style requests: <bucket>.<domain>; empty for path-style requests only"
    )
    max_concurrent_requests: int = option(
        1000,
        "requests at once; more are answered 503 SlowDown. Clients (access keys, without one addresses) with less than "
        "their share of it find a quarter more",
        least=1,
    )
    max_connections: int = option(
        0,
        "connections at once; then the one that is idle for longest makes room for a new one, or the new one is "
        "answered 503. 0: as many as the limit of open files allows, 16384 at most. Hit workers divide it among them",
        least=0,
    )
    max_header_bytes: Size = option(Size(64 * 1024), "largest request head", least=4096)
    max_object_size: Size = option(Size(5 * 2**40), "largest object", least=1)
    max_put_size: Size = option(
        Size(5 * 2**30), "largest body of one request; larger objects go in by multipart upload", least=1
    )
    idle_timeout: Duration = option(Duration(75), "an idle keep-alive connection is closed after this", least=1)
    hit_lane: bool = option(
        True,
        "answer plain GET and HEAD requests for what is in memory or on disk at once, before the ordinary way of a "
        "request begins; without effect with access_log or otel_endpoint, which want to see every request",
    )
    workers: int = option(
        0,
        "processes beside the node that share the port and answer what the hit lane answers; all else they hand to the "
        "node. 0: the node alone listens",
        least=0,
    )
    body_timeout: Duration = option(
        Duration(60), "a client that sends or takes no byte of a body for this long is cut off", least=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AltSection:
    """The alt tier: the S3 server behind."""

    endpoint: str = option("", "URL of the S3 server; empty for AWS S3 in the region")
    region: str = option("us-east-1", "region of the alt buckets")
    profile: str = option(
        "", "profile of the AWS configuration files; empty for the default chain (environment, files, instance role)"
    )
    access_key_id: str = option("", "static access key; empty for boto3's credential chain")
    secret_access_key: str = option(
        "", "secret of access_key_id; better given by secret_access_key_file or by the environment", secret=True
    )
    secret_access_key_file: str = option("", "file that holds the secret of access_key_id")
    path_style: bool = option(True, "address buckets as <endpoint>/<bucket>; false: <bucket>.<endpoint>")
    connect_timeout: Duration = option(Duration(3), "time to reach the server", least=0.01)
    request_timeout: Duration = option(
        Duration(20), "time for one request; a body that is still arriving is resumed where it stopped", least=0.01
    )
    max_retries: int = option(2, "tries after the first, inside one operation", least=0)
    retry_timeout: Duration = option(Duration(10), "no retry begins after this", least=0)
    retry_budget: float = option(
        0.1,
        "second tries as a share of first ones, for each bucket, beyond the ten it begins with; 0: none. When alt "
        "fails for everybody, tries add so much to its load and no more",
        least=0,
    )
    slow_answer: Duration = option(
        Duration(5),
        "an answer that takes longer counts as trouble: some of them make alt unstable for the bucket, and nothing is "
        "tried a second time",
        least=0.01,
    )
    breaker_failures: int = option(
        5,
        "failures in a row, and no answer for two seconds, after which alt is down for the bucket: what needs it is "
        "answered 503 or queued at once",
        least=1,
    )
    breaker_pause: Duration = option(
        Duration(1), "until one request tries whether alt is back; doubles with each that fails", least=0.01
    )
    breaker_max_pause: Duration = option(Duration(10), "the longest such pause", least=0.01)
    concurrency: int = option(64, "requests to alt at once; more wait", least=1)
    multipart_threshold: Size = option(Size(64 * 2**20), "larger objects are uploaded in parts", least=5 * 2**20)
    multipart_part_size: Size = option(Size(16 * 2**20), "size of such a part", least=5 * 2**20)
    storage_class: str = option(
        "", "x-amz-storage-class of uploads; empty for the bucket's default. Classes that need a restore are refused"
    )
    server_side_encryption: Encryption = option("", "encryption asked for with uploads; empty for the bucket's default")
    sse_kms_key_id: str = option("", "key for aws:kms; empty for the account's default key")
    checksum: bool = option(False, "send x-amz-checksum-sha256 with uploads, for alt to verify")
    check_at_start: bool = option(
        True,
        "at start check that alt buckets exist and are writable, and warn about versioning and lifecycle rules that "
        "would delete or freeze objects",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSection:
    """The disk tier's budget."""

    max_bytes: Size = option(Size(10 * 2**30), "disk space for blobs and staged files", reload=True, least=2**20)
    high_water: float = option(0.95, "share of max_bytes at which a pressure purge starts", reload=True)
    low_water: float = option(0.80, "share of max_bytes at which it stops", reload=True)
    hard_limit: float = option(
        1.10, "share of max_bytes beyond which writes are refused with 507; reads go on", reload=True
    )
    min_free: Share = option(
        Share(percent=5.0),
        "bytes and inodes to leave free on the file system (a size counts bytes, a percentage both)",
        reload=True,
    )
    threads: int = option(8, "threads for blob files", least=1)
    slow_call: Duration = option(
        Duration(2), "a call to the disk that takes longer counts as failed: after enough of them it is gone round",
        reload=True, least=0.01,
    )  # fmt: skip
    patience: Duration = option(
        Duration(10), "nobody waits longer for a call to the disk; then it is taken to hang, and alt is asked instead",
        reload=True, least=0.01,
    )  # fmt: skip
    probe_interval: Duration = option(
        Duration(5), "how often a disk that is in doubt is asked to write, fsync and read a small file", reload=True,
        least=0.01,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySection:
    """The memory tier."""

    max_bytes: Size = option(Size(64 * 2**20), "memory for small hot objects; 0 for none")
    max_object: Size = option(Size(256 * 1024), "larger objects are not kept in memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class StubsSection:
    """Stubs: head and tail of what was purged from disk, so that header fetches, dates and sizes need no GET to alt."""

    max_bytes: Size = option(Size(256 * 2**20), "disk space for stubs, beside that of [disk]; 0 for none")
    head: Size = option(Size(8 * 2**10), "bytes kept of the beginning", reload=True, least=64)
    tail: Size = option(Size(1 * 2**10), "bytes kept of the end", reload=True, least=64)
    on_purge: bool = option(
        True, "keep a stub of everything that is purged; false: only where a rule says trim", reload=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteSection:
    """When a write is acknowledged."""

    ack: Ack = option(
        Ack.BOTH,
        "both: on disk and in alt; disk: fsynced on disk and journaled, uploaded later; alt: in alt only. Buckets and "
        "key patterns may say otherwise, a request by x-tierproxy-ack",
        reload=True,
    )
    on_alt_down: OnAltDown = option(
        OnAltDown.QUEUE, "what ack both does when alt is down: queue (200, uploaded later) or refuse (503)", reload=True
    )
    alt_patience: Duration = option(
        Duration(10),
        "how long a write with ack both, or a delete, waits for an alt that says nothing; then it is taken to be down",
        reload=True,
        least=0.01,
    )
    multipart_expiry: Duration = option(
        Duration(7 * 86400), "unfinished multipart uploads are removed after this", reload=True, least=60
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FillSection:
    """What a read that missed leaves on disk."""

    policy: FillPolicy = option(FillPolicy.ALWAYS, "whether a read that missed leaves a copy on disk", reload=True)
    second_read_window: Duration = option(
        Duration(30 * 86400), "second-read: fill when the object was read within this before", reload=True
    )
    max_object: Size = option(Size(1 * 2**30), "larger objects are passed through", reload=True)
    range_limit: Size = option(
        Size(8 * 2**20), "a range of a larger object is fetched alone and not filled", reload=True
    )
    coalesce_limit: Size = option(
        Size(1 * 2**20),
        "objects up to this that are not filled are still fetched once for all who ask at the same time",
        reload=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSection:
    """The upload queue: what alt does not have yet."""

    workers: int = option(8, "uploads at once", least=1)
    linger: Duration = option(
        Duration(0),
        "how long the upload of a write that is acknowledged by disk alone waits before it begins: deliveries in a row "
        "are not slowed by the uploads of those before, and what is deleted or overwritten meanwhile is not sent",
        reload=True,
    )
    backoff: Duration = option(
        Duration(1), "wait after the first failure; doubles each time, with jitter", reload=True, least=0.01
    )
    max_backoff: Duration = option(Duration(60), "longest wait between tries", reload=True, least=0.01)
    deadline: Duration = option(
        Duration(3600), "an object that is only on disk for longer raises an alarm", reload=True, least=1
    )
    max_jobs: int = option(
        1_000_000,
        "beyond this, ack disk becomes ack both and both is refused while alt is down",
        reload=True,
        least=1,
    )
    max_bytes: Size = option(Size(0), "the same in bytes; 0 for max_bytes of [disk]", reload=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubSection:
    """The background check of files against rows."""

    enabled: bool = option(True, "walk all blobs in the background", reload=True)
    interval: Duration = option(Duration(7 * 86400), "time from one walk to the next", reload=True, least=60)
    bytes_per_second: Size = option(Size(20 * 10**6), "reading speed of the walk", reload=True, least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeSection:
    """Purge rules, and how fast purges go. What is kept and purged is written in the rule file."""

    rules: str = option(
        "", "the rule file (see docs/rules.md), read again when it changes; empty: pressure alone, by LRU", reload=True
    )
    shadow: str = option(
        "", "a rule file that is evaluated for bookkeeping beside the live one; empty for none", reload=True
    )
    watch: Duration = option(
        Duration(2), "how often the files are looked at, and what the command line asks for", reload=True, least=0.1
    )
    max_objects_per_second: int = option(
        2000, "speed of rule and operator purges; 0 for no limit. Pressure is not slowed", reload=True, least=0
    )
    max_bytes_per_second: Size = option(Size(0), "the same in bytes; 0 for no limit", reload=True)
    keep_runs: Duration = option(
        Duration(90 * 86400), "records of purge runs older than this go", reload=True, least=60
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CountingSection:
    """What counts as a read, and whose."""

    range_window: Duration = option(
        Duration(60),
        "ranges of one object by one client are one read while none comes later than this after the last",
        reload=True,
    )
    machine_access_keys: tuple[str, ...] = option(
        (), "access keys (shell patterns) whose reads are a machine's: counted apart, promote nothing", reload=True
    )
    machine_user_agents: tuple[str, ...] = option(
        (), "user agents (shell patterns) whose reads are a machine's", reload=True
    )
    machine_keys: tuple[str, ...] = option(
        ("*dovecot.index*", "*dovecot.list.index*", "*/idx/bundle.*"),
        "object keys (shell patterns) that only machines read",
        reload=True,
    )
    scan_objects: int = option(
        20,
        "a client that reads this many objects of one owner in key order is scanning (a resync); 0: never",
        reload=True,
        least=0,
    )
    scan_gap: Duration = option(Duration(10), "the reads of a scan are at most this far apart", reload=True, least=0)
    keep_days: int = option(400, "days that day bins and hour rollups are kept", reload=True, least=1)
    keep_minutes: Duration = option(Duration(2 * 86400), "how long minute rollups are kept", reload=True, least=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldersSection:
    """Folder classes: which folder names (shell patterns, in any case) mean what. The first match counts."""

    inbox: tuple[str, ...] = option(("inbox",), "new mail")
    sent: tuple[str, ...] = option(("sent", "sent *", "sent-*", "gesendet*", "envoy*", "inbox.sent*"), "sent mail")
    drafts: tuple[str, ...] = option(("drafts", "draft", "entw*", "brouillons", "inbox.drafts*"), "drafts")
    trash: tuple[str, ...] = option(
        ("trash", "deleted*", "papierkorb", "corbeille", "inbox.trash*", "bin"), "deleted mail"
    )
    junk: tuple[str, ...] = option(("junk*", "spam*", "inbox.junk*", "inbox.spam*"), "junk mail")
    archive: tuple[str, ...] = option(("archive*", "archiv", "archiv/*", "inbox.archive*"), "archives")


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySection:
    """The log of reads, writes, deletes and purges, for what-if: Parquet segments below <data_dir>/history."""

    enabled: bool = option(True, "write history")
    max_age: Duration = option(Duration(400 * 86400), "older segments are removed", reload=True, least=60)
    max_bytes: Size = option(Size(2 * 2**30), "the oldest segments are removed beyond this", reload=True, least=2**20)
    segment_events: int = option(250_000, "events in a segment", reload=True, least=1)
    segment_age: Duration = option(Duration(3600), "a segment is closed after this", reload=True, least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamingSection:
    """Owner and folder of an object from its key. The first pattern that matches the whole key counts; without any
    [[naming]] the built-in ones for sdbox, Maildir and Dovecot Pro obox do (docs/rules.md)."""

    pattern: str = required(
        "regular expression for the whole key with the named groups owner and (not necessarily) folder"
    )
    bucket: str = option("*", "buckets (shell pattern) it is for")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySection:
    """Write and fill policy for keys of a bucket that match a pattern; the first match counts."""

    key: str = required("shell pattern for keys: * ? [abc]")
    ack: Ack | None = option(None, "ack for these keys; empty for that of the bucket")
    fill: FillPolicy | None = option(None, "fill policy for these keys; empty for that of the bucket")


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketSection:
    """A bucket clients see."""

    name: str = required("name of the bucket")
    alt_bucket: str = option("", "alt's bucket; empty for the same name")
    alt_prefix: str = option("", "put before every key in alt, as in mail/")
    hash_prefix: bool = option(
        False, "put four hex digits of a hash before every key in alt, to spread load. Fixed for the life of a bucket"
    )
    exclusive: bool = option(
        True,
        "this node is the bucket's only writer: look-ups and listings need not ask alt once the catalogue is "
        "complete (`tierproxy catalogue sync`)",
    )
    revalidate: Duration = option(
        Duration(0),
        "not exclusive only: ask alt whether the copy on disk is current when last asked longer ago than this",
    )
    ack: Ack | None = option(None, "ack of this bucket; empty for that of [write]")
    on_alt_down: OnAltDown | None = option(None, "on_alt_down of this bucket; empty for that of [write]")
    fill: FillPolicy | None = option(None, "fill policy of this bucket; empty for that of [fill]")
    mail_metadata: bool = option(
        False,
        "store what a mail says of itself (sender, subject, dates, sizes, GUID) as user metadata of its object: a "
        "catalogue of mail can then be made again without reading bodies",
    )
    policy: tuple[PolicySection, ...] = option((), "policies by key pattern")


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicBucketsSection:
    """Buckets made by clients with CreateBucket; each is a prefix of its own in one alt bucket."""

    enabled: bool = option(False, "allow CreateBucket and DeleteBucket")
    alt_bucket: str = option("", "alt's bucket that holds them")
    alt_prefix: str = option("buckets/", "a bucket's keys are stored below <alt_prefix><bucket>/")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySection:
    """A client's access key and what it may do. One of secret, secret_file and secret_env gives the secret."""

    access_key_id: str = required("the access key")
    secret: str = option("", "the secret; better given by secret_file or secret_env", secret=True)
    secret_file: str = option("", "file that holds the secret")
    secret_env: str = option("", "environment variable that holds the secret")
    buckets: tuple[str, ...] = option(("*",), "buckets or bucket/prefix the key may use; * for all")
    access: Access = option("write", "write includes read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration."""

    node: NodeSection = field(default_factory=NodeSection)
    listen: ListenSection = field(default_factory=ListenSection)
    alt: AltSection = field(default_factory=AltSection)
    disk: DiskSection = field(default_factory=DiskSection)
    stubs: StubsSection = field(default_factory=StubsSection)
    memory: MemorySection = field(default_factory=MemorySection)
    write: WriteSection = field(default_factory=WriteSection)
    fill: FillSection = field(default_factory=FillSection)
    queue: QueueSection = field(default_factory=QueueSection)
    scrub: ScrubSection = field(default_factory=ScrubSection)
    purge: PurgeSection = field(default_factory=PurgeSection)
    counting: CountingSection = field(default_factory=CountingSection)
    folders: FoldersSection = field(default_factory=FoldersSection)
    history: HistorySection = field(default_factory=HistorySection)
    dynamic_buckets: DynamicBucketsSection = field(default_factory=DynamicBucketsSection)
    admin: AdminSection = field(default_factory=AdminSection)
    naming: tuple[NamingSection, ...] = ()
    bucket: tuple[BucketSection, ...] = ()
    key: tuple[KeySection, ...] = ()
    account: tuple[AccountSection, ...] = ()

    @property
    def lane_answers(self) -> bool:
        """The hit lane may answer: nobody wants to see every request."""
        return self.listen.hit_lane and not self.node.access_log and not self.node.otel_endpoint

    @property
    def hit_workers(self) -> int:
        """How many there are to be: none where they could not answer anything."""
        return self.listen.workers if self.lane_answers else 0

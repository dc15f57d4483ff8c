"""What the browser looks at: a real ``tierproxy serve`` over a real S3 server, with accounts, rules, a price sheet,
three weeks of recorded traffic, and some mail.

    python -m tests.browser.stage DIRECTORY     # serves until Ctrl-C, for looking around by hand
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config as BotoConfig

from tests.admin.served import PASSWORD, cheap_hash
from tests.clients.proxy import clean_environment
from tierproxy.config.describe import annotated
from tierproxy.config.operators import AccountSection, AdminSection
from tierproxy.config.sections import (
    AltSection,
    BucketSection,
    Config,
    DiskSection,
    KeySection,
    ListenSection,
    NodeSection,
    PurgeSection,
)
from tierproxy.config.values import Duration, Size
from tierproxy.embedded import EmbeddedS3
from tierproxy.testing.mails import mail

CONFIG = Path(__file__).parents[2] / "config"
KEY_ID, SECRET = "AKIDMAIL", "a-secret-of-a-test-0123456789abcdef"
BUCKET = "mail"
DAYS = 21
READY = 60.0  #: seconds to start in

RULES = """\
# Kept short: what is new stays, what is large and unread goes.
[budget]
max_bytes   = "24MB"
min_on_disk = "0s"

[[rule]]
name = "new mail stays"
when = { age = "< 14d", size = "< 64KiB" }
then = "keep"

[[rule]]
name = "read often"
when = { reads = ">= 3 in 30d" }
then = "keep"

[[rule]]
name = "read once, long ago"
when = { reads = "<= 1", idle = "> 10d" }
then = "purge"
"""


class Stage:
    """Everything below ``home``. ``mails``: how many are delivered; none of them large. ``bucket``: in alt."""

    def __init__(self, home: Path, alt: EmbeddedS3, *, mails: int = 90, bucket: str = BUCKET) -> None:
        self.home = home
        self.url = ""
        self.keys: list[str] = []  #: of the mails that were delivered
        self._alt = alt
        self._bucket = bucket
        self._mails = mails
        self._objects = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def config_file(self) -> Path:
        return self.home / "tierproxy.toml"

    @property
    def rules(self) -> Path:
        return self.home / "rules.toml"

    def client(self) -> Any:
        """boto3's S3 client of the object port."""
        return boto3.client(
            "s3", endpoint_url=self._objects, aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET,
            region_name="us-east-1", config=BotoConfig(retries={"total_max_attempts": 1}),
        )  # fmt: skip

    def read(self, key: str) -> int:
        """As a mail server does. The size."""
        return len(self.client().get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def start(self) -> None:
        """Returns when mail is there and a part of it was read."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._alt.make_bucket(self._bucket)
        self._write_files()
        with (self.home / "serve.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tierproxy", "serve", "--config", str(self.config_file)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=clean_environment(),
            )  # fmt: skip
        self._wait_until_ready(self._process)
        self.url = json.loads((self.home / "data" / "admin.json").read_text())["url"]
        self._deliver()

    @contextmanager
    def operator(self) -> Iterator[httpx.Client]:
        """The admin API for ann."""
        with httpx.Client(base_url=self.url, timeout=60) as client:
            csrf = client.post("/api/login", json={"name": "ann", "password": PASSWORD}).json()["csrf"]
            client.headers.update({"x-csrf-token": csrf, "origin": self.url})
            yield client

    def apply(self, text: str) -> None:
        """Rules in force, put there by another operator than the one at the browser."""
        with self.operator() as client:
            client.post("/api/rules/apply", json={"text": text}).raise_for_status()

    def reset(self) -> None:
        """The rules of the beginning, no shadow, and all mail on disk."""
        self.apply(RULES)
        with self.operator() as client:
            if client.get("/api/status").json()["shadow"]:
                client.post("/api/rules/shadow/end").raise_for_status()
            objects = [f"{BUCKET}/{key}" for key in self.keys]
            client.post("/api/objects/fetch", json={"objects": objects}).raise_for_status()

    def stop(self) -> None:
        """SIGTERM."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()
            process.wait()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        for _ in range(int(READY / 0.05)):
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
                break
            text = (self.home / "serve.log").read_text(errors="replace")
            if found := re.search(r"ready.*?//([\d.]+:\d+)", text):
                self._objects = f"http://{found[1]}"
                return
        process.kill()
        process.wait()
        raise AssertionError(f"tierproxy did not start:\n{(self.home / 'serve.log').read_text(errors='replace')}")

    def _deliver(self) -> None:
        client = self.client()
        delivered: list[str] = []
        for number in range(self._mails):
            made = mail(number)
            if len(made.content) < 2_000_000:
                client.put_object(Bucket=BUCKET, Key=made.key, Body=made.content)
                delivered.append(made.key)
        self.keys = delivered
        for place, key in enumerate(delivered):
            for _ in range(min(place % 5, 3)):
                client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        with self.operator() as admin:  # what was counted of an empty disk is not shown for some seconds more
            for question in ("rules?fresh=true", "stats?by=owner&fresh=true", "purge/plan?limit=10&fresh=true"):
                admin.get(f"/api/{question}").raise_for_status()

    # ------------------------------------------------------------ its files

    def _write_files(self) -> None:
        for name, text in {"secret": SECRET, "alt-secret": self._alt.secret_key, "password": cheap_hash()}.items():
            (self.home / name).touch(0o600)
            (self.home / name).write_text(text)
        self.rules.write_text(RULES)
        (self.home / "prices.toml").write_text((CONFIG / "prices.toml").read_text())
        self.config_file.write_text(annotated(self._config()))
        history = self.home / "data" / "history"
        if not history.exists():
            start = f"{datetime.now(UTC) - timedelta(days=DAYS):%Y-%m-%d}"
            self._command("history", "generate", str(history), "--days", str(DAYS), "--owners", "6", "--start", start)

    def _config(self) -> Config:
        alt = AltSection(endpoint=self._alt.endpoint, access_key_id=self._alt.access_key,
                         secret_access_key_file=str(self.home / "alt-secret"))  # fmt: skip
        password = str(self.home / "password")
        accounts = (
            AccountSection(name="ann", role="operate", password_file=password),
            AccountSection(name="bob", role="read", password_file=password),
        )
        purge = PurgeSection(
            rules=str(self.rules), shadow=str(self.home / "shadow.toml"), watch=Duration(0.2), max_objects_per_second=40
        )
        return Config(
            node=NodeSection(data_dir=str(self.home / "data")), listen=ListenSection(address="127.0.0.1:0"), alt=alt,
            admin=AdminSection(address="127.0.0.1:0"), account=accounts, disk=DiskSection(max_bytes=Size(64 * 10**6)),
            bucket=(BucketSection(name=BUCKET, alt_bucket=self._bucket),), purge=purge,
            key=(KeySection(access_key_id=KEY_ID, secret_file=str(self.home / "secret")),),
        )  # fmt: skip

    def _command(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "tierproxy", *words], capture_output=True, text=True, env=clean_environment(),
            timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@contextmanager
def stage(home: Path, alt: EmbeddedS3, **options: Any) -> Iterator[Stage]:
    """Started, and stopped at the end."""
    one = Stage(home, alt, **options)
    try:
        one.start()
        yield one
    finally:
        one.stop()


def main(arguments: Sequence[str]) -> None:
    """By hand. The password of ann (operate) and bob (read) is that of tests/admin/served.py."""
    home = Path(arguments[0]).absolute()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with EmbeddedS3(home / "alt") as alt, stage(home, alt) as one, suppress(KeyboardInterrupt):
        print(one.url, flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main(sys.argv[1:])

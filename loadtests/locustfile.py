#!/usr/bin/env python3
"""Mail-like traffic for locust: deliver, read soon after, read again, list, delete; signed with SigV4.

Against a proxy that runs:

    TIERPROXY_LOAD_KEY=demo TIERPROXY_LOAD_SECRET=... locust -f loadtests/locustfile.py --host http://127.0.0.1:9300

and open http://127.0.0.1:8089, or add ``--headless -u 50 -r 10 -t 5m``. The bucket is ``mail``, or
TIERPROXY_LOAD_BUCKET.
Each user has a mailbox of its own and compares what it reads with what it delivered.

Run as a program, it starts a SeaweedFS and a ``tierproxy serve`` of its own, plays headless and ends with the verdict.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Mapping
from itertools import count
from urllib.parse import quote, urlencode, urlsplit

from locust import HttpUser, between, task

from tierproxy.clock import SystemClock
from tierproxy.s3api.auth import ALGORITHM, derive_key, sign, string_to_sign
from tierproxy.s3api.dates import amz_stamp
from tierproxy.testing.mails import mail

REGION = "us-east-1"
MODELS = [found.content for number in range(60) if len((found := mail(number)).content) < 500_000]
NUMBERS = count(1)


def signed(method: str, host: str, path: str, query: Mapping[str, str], body: bytes) -> dict[str, str]:
    """The headers of a signed request (AWS Signature Version 4, header form)."""
    key_id, secret = os.environ["TIERPROXY_LOAD_KEY"], os.environ["TIERPROXY_LOAD_SECRET"]
    stamp, digest = amz_stamp(SystemClock().now()), hashlib.sha256(body).hexdigest()
    text = urlencode(sorted(query.items()), quote_via=quote, safe="")
    names = "host;x-amz-content-sha256;x-amz-date"
    lines = f"host:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{stamp}\n"
    canonical = f"{method}\n{path}\n{text}\n{lines}\n{names}\n{digest}"
    scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
    signature = sign(derive_key(secret, stamp[:8], REGION), string_to_sign(stamp, scope, canonical.encode()))
    credential = f"{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {"host": host, "x-amz-date": stamp, "x-amz-content-sha256": digest, "authorization": credential}


class Mailbox(HttpUser):
    """One user's mail client and the deliveries to it: new mail is read soon, old mail seldom, some is deleted."""

    wait_time = between(0.05, 0.5)

    def on_start(self) -> None:
        self.chance = random.Random(next(NUMBERS))
        self.folder = f"user{next(NUMBERS)}-{os.getpid()}/mailboxes/INBOX/dbox-Mails"
        self.delivered: dict[str, bytes] = {}
        self.bucket = os.environ.get("TIERPROXY_LOAD_BUCKET", "mail")

    @task(4)
    def deliver_and_read(self) -> None:
        """A mail arrives and is opened a moment later."""
        key = f"{self.folder}/u.{len(self.delivered) + 1}-{self.chance.getrandbits(32):x}"
        content = self.chance.choice(MODELS)
        if self._ask("PUT", key, body=content, name="deliver") is not None:
            self.delivered[key] = content
            self._read(key, "read soon")

    @task(4)
    def read_again(self) -> None:
        """Mostly what came last."""
        if self.delivered:
            keys = list(self.delivered)
            self._read(keys[-1 - min(int(self.chance.expovariate(0.3)), len(keys) - 1)], "read again")

    @task(1)
    def list_folder(self) -> None:
        self._ask("GET", "", query={"list-type": "2", "prefix": self.folder + "/"}, name="list")

    @task(1)
    def delete(self) -> None:
        if self.delivered:
            key = self.chance.choice(list(self.delivered))
            del self.delivered[key]
            self._ask("DELETE", key, name="delete")

    def _read(self, key: str, name: str) -> None:
        self._ask("GET", key, name=name, expected=self.delivered[key])

    def _ask(
        self, method: str, key: str, *, name: str, query: Mapping[str, str] | None = None, body: bytes = b"",
        expected: bytes | None = None,
    ) -> bytes | None:  # fmt: skip
        """The answer's body; None, and a failure in locust's statistics, if it was not what it should be."""
        path = f"/{self.bucket}/{quote(key)}" if key else f"/{self.bucket}"
        query = query or {}
        headers = signed(method, urlsplit(str(self.host)).netloc, path, query, body)
        text = urlencode(sorted(query.items()), quote_via=quote, safe="")
        target = f"{path}?{text}" if text else path
        with self.client.request(
            method, target, data=body, headers=headers, name=name, catch_response=True
        ) as answer:  # fmt: skip
            content: bytes = answer.content
            if answer.status_code >= 300:
                answer.failure(f"{answer.status_code} {content[:200]!r}")
            elif expected is not None and content != expected:
                answer.failure(f"{len(content)} bytes that are not the {len(expected)} delivered")
            else:
                answer.success()
                return content
        return None


if __name__ == "__main__":
    import locust_alone

    raise SystemExit(locust_alone.main(__doc__ or ""))

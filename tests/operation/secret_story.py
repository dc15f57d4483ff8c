"""A node with every kind of secret there is, used rightly and wrongly; and a search for them in all it has written."""

from __future__ import annotations

import base64
import http.client
import json
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.admin.served import cheap_hash
from tests.cli.live import self_signed, until
from tests.operation.programs import BUCKET, Serving, command, serving
from tierproxy.clock import SystemClock
from tierproxy.config.credentials import token_hash
from tierproxy.config.load import load
from tierproxy.embedded import EmbeddedS3
from tierproxy.errors import ConfigError
from tierproxy.history.reading import open_history
from tierproxy.s3api.auth import derive_key
from tierproxy.s3api.dates import amz_stamp
from tierproxy.testing.children import clean_environment

REGION = "us-east-1"
SECRETS = {
    "a key's, in the file": "INLINE+secret/of/a/key/that/is/long+enough=",
    "a key's, in a file": "FILED-secret-of-a-key-that-is-long-enough",
    "a key's, in the environment": "ENVIRONMENT-secret-of-a-key-long-enough",
    "an account's password": "correct horse PASSWORD staple",
    "an account's token": "TOKEN-of-an-account-0123456789-0123456789",
    "a secret nobody has": "WRONG-secret-that-a-client-shows-0123456789",
    "in a broken file": "BROKEN-file-secret-0123456789-0123456789",
}
INLINE, PASSWORD, TOKEN = (
    SECRETS[name] for name in ("a key's, in the file", "an account's password", "an account's token")
)


@dataclass
class Heard:
    """``secrets``: what must be nowhere, by what it is. ``told``: what programs and ports have said, by who."""

    secrets: dict[str, str]
    told: dict[str, bytes] = field(default_factory=dict)

    def keep(self, who: str, what: bytes | str) -> None:
        self.told[f"{who} ({len(self.told)})"] = what.encode() if isinstance(what, str) else what

    def found(self) -> list[str]:
        """``who: secret`` for each secret in what was told, in clear or in the usual disguises."""
        return [
            f"{who}: {name}"
            for who, what in self.told.items()
            for name, secret in self.secrets.items()
            if any(form in what for form in disguises(secret))
        ]


def disguises(secret: str) -> set[bytes]:
    raw = secret.encode()
    aligned = {base64.b64encode(raw[skip:])[4:-4] for skip in range(3)}
    return {raw, raw.hex().encode(), quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode(), *aligned}


class Story:
    """One node, its files below ``home``. ``lines``: of ``[node]``; ``listen``: of ``[listen]``."""

    def __init__(self, home: Path, alt: EmbeddedS3, lines: list[str], listen: list[str]) -> None:
        self.home = home
        self.alt = alt
        home.mkdir()
        self.certificate, self.key = self_signed(home / "tls")
        self.file = home / "tierproxy.toml"
        self.log = home / "log"
        self.heard = Heard(dict(SECRETS) | {"alt's": alt.secret_key} | self._key_lines() | self._signing_keys())
        self._write(lines, listen)
        self.trust = ssl.create_default_context(cafile=str(self.certificate))
        self.trust.check_hostname = False
        self.trust.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN

    def _key_lines(self) -> dict[str, str]:
        lines = [line for line in self.key.read_text().splitlines() if "-----" not in line]
        return {f"line {number} of the TLS key": line for number, line in enumerate(lines) if len(line) > 16}

    def _signing_keys(self) -> dict[str, str]:
        """Of today, as hexadecimal digits."""
        day = amz_stamp(SystemClock().now())[:8]
        keys = [name for name in SECRETS if name.startswith("a key's")]
        return {f"signing key of {name}": derive_key(SECRETS[name], day, REGION).hex() for name in keys}

    def _write(self, lines: list[str], listen: list[str]) -> None:
        for name, text in (("filed", SECRETS["a key's, in a file"]), ("alt", self.alt.secret_key)):
            (self.home / name).touch(0o600)
            (self.home / name).write_text(text + "\n")
        self.file.touch(0o600)
        self.file.write_text(
            "\n".join(
                [
                    "[node]", f'data_dir = "{self.home / "data"}"', *lines,
                    "[listen]", 'address = "127.0.0.1:0"', f'tls_certificate = "{self.certificate}"',
                    f'tls_key = "{self.key}"', *listen,
                    "[admin]", 'address = "127.0.0.1:0"', f'tls_certificate = "{self.certificate}"',
                    f'tls_key = "{self.key}"',
                    "[alt]", f'endpoint = "{self.alt.endpoint}"', f'access_key_id = "{self.alt.access_key}"',
                    f'secret_access_key_file = "{self.home / "alt"}"', "max_retries = 0",
                    "[[bucket]]", f'name = "{BUCKET}"',
                    "[[key]]", 'access_key_id = "inline"', f'secret = "{INLINE}"',
                    "[[key]]", 'access_key_id = "filed"', f'secret_file = "{self.home / "filed"}"',
                    "[[key]]", 'access_key_id = "environment"', 'secret_env = "STORY_SECRET"',
                    "[[account]]", 'name = "ann"', 'role = "operate"', f'password = "{cheap_hash(PASSWORD)}"',
                    f'token = "{token_hash(TOKEN)}"',
                ]
            )
            + "\n"
        )  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment(STORY_SECRET=SECRETS["a key's, in the environment"])

    # ---------------------------------------------------------------- the object port

    def ask(self, node: Serving, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> int:
        """Its answer is kept: error pages tell nobody's secret either."""
        client = http.client.HTTPSConnection("127.0.0.1", node.port, timeout=60, context=self.trust)
        try:
            client.request(method, target, body or None, headers)
            answer = client.getresponse()
            self.heard.keep(f"{method} {urlsplit(target).path}", answer.read() + str(answer.headers).encode())
            return answer.status
        finally:
            client.close()

    def signed(self, node: Serving, method: str, path: str, key: str, secret: str, body: bytes = b"") -> int:
        wanted = AWSRequest(method, node.url + path, headers={"Host": f"127.0.0.1:{node.port}"}, data=body)
        S3SigV4Auth(Credentials(key, secret), "s3", REGION).add_auth(wanted)
        headers = dict(wanted.headers.items())
        self.heard.secrets[f"signature of {method} {path}"] = headers["Authorization"].rpartition("Signature=")[2]
        return self.ask(node, method, path, headers, body)

    def presigned(self, node: Serving, path: str, key: str, secret: str, *, expires: int = 60, spoil: str = "") -> int:
        host = f"127.0.0.1:{node.port}"
        wanted = AWSRequest("GET", node.url + path, headers={"Host": host})
        S3SigV4QueryAuth(Credentials(key, secret), "s3", REGION, expires=expires).add_auth(wanted)
        assert wanted.url is not None
        self.heard.secrets[f"signature of a URL for {path}{expires}"] = wanted.url.rpartition("X-Amz-Signature=")[2]
        return self.ask(node, "GET", wanted.url.removeprefix(node.url) + spoil, {"Host": host})

    def use_objects(self, node: Serving) -> None:
        inline, filed, environment = (SECRETS[name] for name in SECRETS if name.startswith("a key's"))
        assert self.signed(node, "PUT", f"/{BUCKET}/a", "inline", inline, b"a mail") == 200
        assert self.signed(node, "GET", f"/{BUCKET}/a", "filed", filed) == 200
        assert self.signed(node, "PUT", f"/{BUCKET}/b", "environment", environment, b"another mail") == 200
        assert self.presigned(node, f"/{BUCKET}/a", "filed", filed) == 200
        assert self.signed(node, "DELETE", f"/{BUCKET}/b", "inline", inline) == 204
        wrong = SECRETS["a secret nobody has"]
        assert self.signed(node, "GET", f"/{BUCKET}/a", "inline", wrong) == 403
        assert self.presigned(node, f"/{BUCKET}/a", "filed", wrong, expires=61) == 403
        assert self.presigned(node, f"/{BUCKET}/a", "filed", filed, expires=0) in {400, 403}
        assert self.presigned(node, f"/{BUCKET}/a", "filed", filed, expires=62, spoil="&x=y") == 403
        assert self.presigned(node, f"/{BUCKET}/nothing", "filed", filed, expires=63) == 404
        for scheme in (f"Basic {base64.b64encode(f'inline:{inline}'.encode()).decode()}", f"Bearer {wrong}", "AWS4 x"):
            assert self.ask(node, "GET", f"/{BUCKET}/a", {"Authorization": scheme}) in {400, 403}

    # ---------------------------------------------------------------- the admin port

    def admin(self, method: str, path: str, headers: dict[str, str], body: object = None) -> tuple[int, bytes, str]:
        place = urlsplit(json.loads((self.home / "data" / "admin.json").read_text())["url"])
        client = http.client.HTTPSConnection("127.0.0.1", place.port, timeout=60, context=self.trust)
        try:
            sent = {"Origin": place.geturl(), "Content-Type": "application/json"} | headers
            client.request(method, path, None if body is None else json.dumps(body), sent)
            answer = client.getresponse()
            return answer.status, answer.read(), answer.headers.get("set-cookie", "")
        finally:
            client.close()

    def use_admin(self) -> None:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        status, told, cookie = self.admin("POST", "/api/login", {}, {"name": "ann", "password": PASSWORD})
        assert status == 200
        cookie = cookie.partition(";")[0]
        self.heard.secrets |= {"a session": cookie.partition("=")[2], "its CSRF token": json.loads(told)["csrf"]}
        browser = {"Cookie": cookie, "X-CSRF-Token": json.loads(told)["csrf"]}
        for headers in (bearer, {"Cookie": cookie}):
            for path in ("/metrics", "/api/configuration", "/api/status", "/api/openapi.json", "/nothing", "/"):
                if (path, *headers) == ("/", "Cookie"):
                    continue  # a session's own page has its CSRF token
                self.heard.keep(f"admin {path}", self.admin("GET", path, headers)[1])
        wrong = SECRETS["a secret nobody has"]
        for wish in (
            {"name": "ann", "password": wrong},
            {"token": wrong},
            {"code": wrong},
            {"password": [wrong]},
            wrong,
        ):
            status, told, _ = self.admin("POST", "/api/login", {}, wish)
            assert status in {400, 401, 422, 429}
            self.heard.keep("login", told)
        for headers in ({"Authorization": f"Bearer {wrong}"}, {"Cookie": f"__Host-tierproxy={wrong}"}):
            self.heard.keep("refusal", self.admin("GET", "/api/status", headers)[1])
        body = {"target": f"{BUCKET}/a", "everything": True, "reason": "spring"}
        self.heard.keep("run", self.admin("POST", "/api/runs", browser, body)[1])
        self.heard.keep("logout", self.admin("POST", "/api/logout", browser)[1])

    # ---------------------------------------------------------------- commands

    def say(self, *words: str, code: int = 0) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "tierproxy", *words, "--config", str(self.file)], capture_output=True, check=False,
            env=self.environment, timeout=100, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        self.heard.keep(f"tierproxy {' '.join(words)}", done.stdout + done.stderr)

    def break_the_file(self, node: Serving) -> None:
        """Reloads of files with a secret in the wrong place, of the wrong kind, in a line that is no TOML."""
        good, secret = self.file.read_text(), SECRETS["in a broken file"]
        broken = (
            f'[alt]\nsecret_access_key = ["{secret}"]\n', f'[[key]]\naccess_key_id = "x"\nsecrets = "{secret}"\n',
            f'[[key]]\naccess_key_id = "x"\nsecret = "{secret}\n', f'[[key]]\nsecret = """\n{secret}"""x\n',
            f"[[key]]\nsecret = {secret}\n", f'[[account]]\nname = "x"\npassword = "{secret}"\n',
            f'[[account]]\nname = "x"\ntoken = "{secret}"\n', f'secret = "{secret}"\n', f'[[key]]\n"{secret}" 1\n',
            f'[[key]]\naccess_key_id = "x"\nsecret = "{secret}"\nsecret_file = "/nothing"\n',
        )  # fmt: skip
        for number, text in enumerate(broken, 1):
            self.file.write_text(text)
            node.process.send_signal(signal.SIGHUP)
            until(lambda number=number: node.text().count("configuration not reloaded") == number)  # type: ignore[misc]
            with pytest.raises(ConfigError) as caught:  # what `tierproxy config check` says
                load(self.file, {})
            self.heard.keep("config check", f"{caught.value} {caught.value.hint}")
        self.file.write_text(good)

    # ---------------------------------------------------------------- what there is

    def look_at_processes(self, node: Serving) -> None:
        """Command lines, which everybody on the machine can read."""
        for pid in (str(node.process.pid), *_children(node.process.pid)):
            self.heard.keep(f"command line of {pid}", Path(f"/proc/{pid}/cmdline").read_bytes())

    def look_at_files(self) -> None:
        """All but those that are there for a secret."""
        data = self.home / "data"
        meant = {self.file, self.key, self.home / "alt", self.home / "filed", data / "admin.json", data / "admin.token"}
        for path in sorted(self.home.rglob("*")):
            if path.is_file() and path not in meant:
                self.heard.keep(str(path.relative_to(self.home)), path.read_bytes())
        events = [str(event) for event in open_history(data).events()]
        assert events
        self.heard.keep("history", "\n".join(events))


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@contextmanager
def collector(heard: Heard) -> Iterator[str]:
    """The URL of an OpenTelemetry receiver that keeps what it is sent."""

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.keep("traces", self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def told(story: Story) -> Iterator[Serving]:
    with serving(command(story.file), story.log, environment=story.environment) as node:
        yield node

"""What the demo keeps below ``./var``: credentials, configuration, the manifest of delivered mails, all data."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path

from tierproxy.config.describe import annotated
from tierproxy.config.operators import AdminSection
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
from tierproxy.config.values import Size
from tierproxy.errors import ConfigError

BUCKET = "mail"
ACCESS_KEY_ID = "demo"
ALT_ACCESS_KEY_ID = "tierproxy"


@dataclass(frozen=True, slots=True)
class Delivered:
    """A mail that was acknowledged: what must come back."""

    number: int
    key: str
    size: int
    sha256: str


class Home:
    """The demo's directory. Made on the first run; a later run finds everything again."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def __repr__(self) -> str:
        return f"<Home {self.root}>"

    @property
    def config_file(self) -> Path:
        return self.root / "tierproxy.toml"

    @property
    def rules_file(self) -> Path:
        return self.root / "rules.toml"

    @property
    def credentials_file(self) -> Path:
        return self.root / "credentials"

    @property
    def alt_directory(self) -> Path:
        return self.root / "alt"

    def secret(self) -> str:
        """The secret of the demo's client key, the same in every run."""
        return self._secret("secret")

    def alt_secret(self) -> str:
        """The secret of the embedded S3 server."""
        return self._secret("alt-secret")

    def _secret(self, name: str) -> str:
        path = self.root / name
        try:
            found = path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            found = secrets.token_urlsafe(30)
            _write_private(path, found + "\n")
        if not found:
            raise ConfigError(f"{path} is empty", hint=f"remove it, or remove {self.root} to start the demo afresh")
        return found

    def write_credentials(self) -> None:
        """Shell variables that curl, the aws CLI and boto3 take their key from."""
        names = {"AWS_ACCESS_KEY_ID": ACCESS_KEY_ID, "AWS_SECRET_ACCESS_KEY": self.secret()}
        lines = [f"export {name}={value}" for name, value in (names | {"AWS_DEFAULT_REGION": "us-east-1"}).items()]
        _write_private(self.credentials_file, "\n".join(lines) + "\n")

    def write_rules(self) -> None:
        """The rule file of the first run; what somebody has made of it since stays."""
        if not self.rules_file.exists():
            self.rules_file.write_text(files("tierproxy.cli.demo").joinpath("rules.toml").read_text(encoding="utf-8"))

    def config(self, alt: AltSection, address: str, admin: str = "127.0.0.1:0") -> Config:
        """The demo's configuration, secrets in place. ``alt`` is the section of the embedded S3 server; ``address`` and
        ``admin`` are those of the object port and of the admin port."""
        return Config(
            node=NodeSection(data_dir=str(self.root / "data"), log_level="warning"),
            listen=ListenSection(address=address),
            admin=AdminSection(address=admin),
            alt=replace(alt, secret_access_key=self.alt_secret()),
            disk=DiskSection(max_bytes=Size(2 * 2**30)),
            purge=PurgeSection(rules=str(self.rules_file)),
            bucket=(BucketSection(name=BUCKET),),
            key=(KeySection(access_key_id=ACCESS_KEY_ID, secret=self.secret()),),
        )

    def write_config(self, config: Config) -> None:
        """``config`` for the other commands, secrets by file."""
        keys = tuple(replace(key, secret="", secret_file=str(self.root / "secret")) for key in config.key)
        alt = replace(config.alt, secret_access_key="", secret_access_key_file=str(self.root / "alt-secret"))
        node = replace(config.node, log_level="info")
        _write_private(self.config_file, annotated(replace(config, node=node, alt=alt, key=keys)))

    # ------------------------------------------------------------ manifest

    def manifest(self) -> dict[int, Delivered]:
        """Every mail that was acknowledged, by number. A torn last line (a run that was killed) is left out: that mail
        is delivered again."""
        return {mail.number: mail for mail in self._lines()}

    def _lines(self) -> Iterator[Delivered]:
        path = self.root / "manifest.jsonl"
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                yield Delivered(**json.loads(line))
            except (ValueError, TypeError):
                continue

    def remember(self, mail: Delivered) -> None:
        """After the acknowledgement, before the next mail."""
        with (self.root / "manifest.jsonl").open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(asdict(mail)) + "\n")  # the line before may be torn


def _write_private(path: Path, text: str) -> None:
    """For its owner alone, from its first byte on; complete or not there."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    partial.replace(path)

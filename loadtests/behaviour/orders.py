"""What the director tells locust while it runs, and the other way round: files in one directory.

Locust is a process of its own (gevent changes everything in it), so nothing else is shared.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

DIRECTORY = "TIERPROXY_LOAD_STAGE"  #: the environment variable that names the directory
PROXY, S3 = "proxy", "S3"


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go: ``prefix`` comes before every key. ``secret`` belongs to every access key of the proxy, and to
    ``access_key`` of S3."""

    url: str
    bucket: str
    secret: str
    access_key: str = ""
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Phase:
    """What is asked of the users now. ``deliveries`` and ``listings``: shares of what people do, who read otherwise;
    ``cold``: share of their reads that are of mail nobody has opened for long; ``pause``: the longest between two
    actions, in seconds; ``burst`` and ``scans``: how many users deliver without a pause, and search mailboxes mail by
    mail."""

    name: str
    target: str = PROXY
    deliveries: float = 0.1
    listings: float = 0.05
    cold: float = 0.0
    pause: float = 0.4
    burst: int = 0
    scans: int = 0
    idle: bool = False  #: nobody does anything
    over: bool = False  #: the play is over: locust writes its report and ends


class Orders:
    """The director's side and locust's side of the directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def town(self) -> Path:
        return self.directory / "town.json"

    @property
    def samples(self) -> Path:
        return self.directory / "samples.jsonl"

    @property
    def ready(self) -> Path:
        """Exists once every user is there."""
        return self.directory / "ready"

    def keep_targets(self, targets: dict[str, Target]) -> None:
        file = self.directory / "targets.json"
        file.touch(0o600)
        file.write_text(json.dumps({name: asdict(target) for name, target in targets.items()}))

    def targets(self) -> dict[str, Target]:
        found = json.loads((self.directory / "targets.json").read_text())
        return {name: Target(**target) for name, target in found.items()}

    def announce(self, phase: Phase) -> None:
        """From now on this is played."""
        fresh = self.directory / "phase.new"
        fresh.write_text(json.dumps(asdict(phase)))
        os.replace(fresh, self.directory / "phase.json")

    def phase(self) -> Phase | None:
        """What is to be played; None: nothing yet."""
        try:
            return Phase(**json.loads((self.directory / "phase.json").read_text()))
        except FileNotFoundError:
            return None

"""Everything the traps look at, gathered before any of them looks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tierproxy.config.sections import BucketSection, Config
from tierproxy.dovecot.doveconf import Block, Configuration
from tierproxy.dovecot.host import Host, Mounted
from tierproxy.dovecot.places import Place, below, fixed_part, places
from tierproxy.dovecot.settings import Paths
from tierproxy.dovecot.versions import Series


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """What the node said. ``problem``: why it said nothing. ``complete``: buckets whose catalogue knows every object of
    alt; None where nobody could tell."""

    problem: str = ""
    complete: Mapping[str, bool] | None = None


@dataclass(frozen=True, kw_only=True)
class Situation:
    """``dovecot``: its configuration, None if it cannot be read, and ``problem`` says why. ``config``: the node's, with
    ``config_problem``. ``mail_root`` and ``bucket``: given by the user, "" to find them out."""

    host: Host
    dovecot: Configuration | None = None
    problem: str = ""
    config: Config | None = None
    config_problem: str = ""
    node: NodeSeen = field(default_factory=NodeSeen)
    mail_root: str = ""
    bucket: str = ""

    @cached_property
    def places(self) -> list[Place]:
        """Where mail is, by Dovecot's configuration."""
        return places(self.dovecot) if self.dovecot is not None else []

    @cached_property
    def top(self) -> Block:
        """Settings of all."""
        return self.dovecot.top if self.dovecot is not None else Block()

    @property
    def series(self) -> Series:
        return self.dovecot.version.series if self.dovecot is not None else Series.V23

    @cached_property
    def ours(self) -> list[Mounted]:
        """Mounts of tierproxy."""
        return [one for one in self.host.mounts() if one.ours]

    @cached_property
    def root(self) -> str:
        """The mount point for mail: as given, else the mount that mail is on, else where mail should be by a location
        that keeps its index elsewhere, else the first mount there is."""
        paths = [fixed_part(path) for place in self.places for path in (place.alt, place.path) if path]
        used = [one.point for one in self.ours if any(below(path, one.point) for path in paths)]
        meant = [fixed_part(place.alt or place.path) for place in self.places if place.alt or place.index]
        points = [*used, *meant, *(one.point for one in self.ours), *paths]
        return self.mail_root or next((point for point in points if point.startswith("/")), Paths().mail)

    @cached_property
    def mounted(self) -> Mounted | None:
        """The mount on ``root``; None: there is none of ours."""
        found = self.host.mount_of(self.root)
        return found if found is not None and found.ours else None

    @property
    def on_mount(self) -> list[Place]:
        """Places that use the mount, for all mail or for what was moved."""
        return [place for place in self.places if self.uses(place.path) or self.uses(place.alt)]

    def uses(self, path: str) -> bool:
        """Whether a path of Dovecot's configuration is on the mount."""
        return bool(path) and below(fixed_part(path), self.root)

    @cached_property
    def section(self) -> BucketSection | None:
        """The bucket of the mount: as given, else named by the mount's source, else the only one."""
        buckets = self.config.bucket if self.config is not None else ()
        if self.bucket:
            return next((one for one in buckets if one.name == self.bucket), None)
        told = re.fullmatch(r"tierproxy:([^/]+).*", self.mounted.source) if self.mounted is not None else None
        if told is not None:
            return next((one for one in buckets if one.name == told[1]), None)
        return buckets[0] if len(buckets) == 1 else None

    @property
    def mail_user(self) -> tuple[int, int] | None:
        """Number and group of the owner of all mail; None: not set, or nobody of that name."""
        user, group = self.top.get("mail_uid"), self.top.get("mail_gid")
        found = self.host.user(user) if user else None
        if found is None:
            return (int(user), int(group)) if user.isdigit() and group.isdigit() else None
        named = self.host.group(group) if group else found[1]
        return found[0], named if named is not None else int(group) if group.isdigit() else found[1]

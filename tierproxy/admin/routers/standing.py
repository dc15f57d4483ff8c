"""What the rules in force hold, and what a purge would remove now: two routes, one look at every object."""

from __future__ import annotations

from collections.abc import Callable

from tierproxy.admin.kept import Keeper
from tierproxy.admin.services import Services
from tierproxy.admin.snapshots import Snapshots
from tierproxy.catalogue import CatalogueReader
from tierproxy.desk.plan import held_and_plan
from tierproxy.wire.base import Document
from tierproxy.wire.purges import PurgePlan
from tierproxy.wire.rules import RulesHeld

STANDING = ("plan", "and rules in force")
DAYS = 30  #: of what was removed
NAMED = 20  #: objects of the plan


class Standing(Document):
    """Both, of one moment."""

    held: RulesHeld
    plan: PurgePlan


def standing(services: Services) -> Callable[[CatalogueReader], Standing]:
    """At the moment at which a thread begins with it."""

    def look(catalogue: CatalogueReader) -> Standing:
        held, plan = held_and_plan(services.config(), catalogue, services.clock.now(), DAYS, NAMED)
        return Standing(held=held, plan=plan)

    return look


def expect_standing(services: Services, snapshots: Snapshots) -> None:
    """It is looked for before somebody asks. What a node before this one counted is shown if its rules still are in
    force."""

    def good(value: Standing) -> bool:
        return value.held.version == services.purges.live.in_force.number

    keeper = Keeper(services.data, "rules", Standing, services.files, good=good)
    snapshots.expect(STANDING, standing(services), keeper)

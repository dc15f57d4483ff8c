"""Objects as columns, for tests of compiled rules."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tierproxy.rules.evaluate import Facts
from tierproxy.trace import Objects
from tierproxy.whatif.engine.columns import Columns


def columns_of(objects: Sequence[Facts]) -> Columns:
    """What a replay would hold of them; metadata and states are not among it."""
    columns = Columns(
        Objects(
            [one.name.bucket for one in objects], [one.name.key for one in objects],
            [one.owner for one in objects], [one.folder for one in objects],
        )
    )  # fmt: skip
    for number, one in enumerate(objects):
        columns.written[number] = one.written_at
        columns.stored[number] = math.nan if one.stored_at is None else one.stored_at
        columns.used[number] = one.idle_since
        columns.purged[number] = math.nan if one.purged_at is None else one.purged_at
        columns.size[number], columns.reads[number] = one.size, one.reads
        columns.machine[number] = one.machine_reads
        columns.days[number] = [day for day, reads, _ in one.days for _ in range(reads)]
        columns.machine_days[number] = [day for day, _, reads in one.days for _ in range(reads)]
    return columns

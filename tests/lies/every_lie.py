"""Every lie on every way, also those that every run leaves out because others stand for them. Minutes:

pytest tests/lies/every_lie.py
"""

from __future__ import annotations

import pytest

from tests.lies import test_changes as changes
from tests.lies import test_reads as reads
from tests.lies.reads import Way
from tests.lies.world import World


@pytest.mark.parametrize(("way", "lie"), [case for case in reads.CASES if case not in reads.BRIEF], ids=str)
def test_no_lie_is_served_or_kept(lied_to: World, way: Way, lie: str) -> None:
    lied_to.run(reads.told(lied_to, way, lie))


@pytest.mark.parametrize("case", [case for case in changes.CASES if not case.brief], ids=str)
def test_what_the_client_is_told_is_true_and_alt_ends_up_with_it(lied_to: World, case: changes.Case) -> None:
    lied_to.run(changes.told(lied_to, case))

"""What a pressure purge takes, and why."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.config.sections import DiskSection
from tierproxy.config.values import Share, Size
from tierproxy.model import FreeSpace, ObjectName
from tierproxy.purge.plan import Need, everything, first, merged, need, pressed, ruled
from tierproxy.purges import OPERATOR, PRESSURE, Candidate
from tierproxy.rules.model import Action, ActionKind, BucketBudget, Budget, Order, Rule, RuleSet
from tierproxy.store.space import Space

BUDGET = DiskSection(max_bytes=Size(1000), high_water=0.9, low_water=0.5, min_free=Share(bytes=0))
ROOMY = FreeSpace(total_bytes=100_000, free_bytes=100_000, total_inodes=1000, free_inodes=1000)


def _space(used: int, *, reserved: int = 0, budget: DiskSection = BUDGET, free: FreeSpace = ROOMY) -> Space:
    space = Space(budget, used, lambda: free)
    space.reserved = reserved
    return space


def _candidate(number: int, footprint: int, rule: int | None = None) -> Candidate:
    name = ObjectName("mail", f"{number:04}")
    return Candidate(name, number, f"b{number}", footprint, footprint, rule, float(number))


def test_nothing_is_needed_up_to_high_water() -> None:
    assert need(_space(900)) is None


def test_beyond_high_water_the_need_goes_down_to_low_water() -> None:
    assert need(_space(901)) == Need(401, 0, "high water")


def test_space_that_is_promised_counts_as_used() -> None:
    assert need(_space(800, reserved=150)) == Need(450, 0, "high water")


def test_a_refused_claim_counts_as_used() -> None:
    assert need(_space(800), wanted=150) == Need(450, 0, "high water")


def test_a_file_system_with_too_few_free_bytes_is_a_need_with_some_slack() -> None:
    budget = replace(BUDGET, min_free=Share(percent=10))
    free = replace(ROOMY, free_bytes=9_900)
    assert need(_space(100, budget=budget, free=free)) == Need(100 + 10, 0, "min_free bytes")


def test_promised_and_refused_bytes_count_against_the_free_bytes() -> None:
    budget = replace(BUDGET, min_free=Share(percent=10))
    free = replace(ROOMY, free_bytes=10_050)
    assert need(_space(100, budget=budget, free=free)) is None
    assert need(_space(100, reserved=60, budget=budget, free=free)) == Need(10 + 10, 0, "min_free bytes")
    assert need(_space(100, budget=budget, free=free), wanted=70) == Need(20 + 10, 0, "min_free bytes")


def test_a_file_system_with_too_few_free_inodes_is_a_need_for_files() -> None:
    budget = replace(BUDGET, min_free=Share(percent=10))
    free = replace(ROOMY, free_inodes=95)
    assert need(_space(100, budget=budget, free=free)) == Need(0, 6, "min_free inodes")


def test_a_size_as_min_free_does_not_look_at_inodes() -> None:
    budget = replace(BUDGET, min_free=Share(bytes=500))
    assert need(_space(100, budget=budget, free=replace(ROOMY, free_inodes=0))) is None


def test_a_file_system_without_an_inode_count_has_no_need_for_files() -> None:
    budget = replace(BUDGET, min_free=Share(percent=10))
    assert need(_space(100, budget=budget, free=replace(ROOMY, total_inodes=0, free_inodes=0))) is None


def test_a_bucket_over_its_own_high_water_is_a_need_of_its_own() -> None:
    space = _space(700)
    space.reload(BUDGET, [BucketBudget("mail", 200)])
    space.add(181, "mail")
    assert need(space, bucket="mail") == Need(81, 0, "bucket budget", "mail")
    assert need(space) is None
    assert need(space, wanted=20, bucket="other") is None


def test_bytes_refused_to_a_bucket_count_as_the_buckets() -> None:
    space = _space(0)
    space.reload(BUDGET, [BucketBudget("mail", 200)])
    space.add(150, "mail")
    assert need(space, bucket="mail") is None
    assert need(space, wanted=50, bucket="mail") == Need(100, 0, "bucket budget", "mail")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 500), max_size=30), st.integers(0, 3000), st.integers(0, 10))
def test_what_goes_is_the_shortest_run_of_candidates_that_meets_the_need(
    sizes: list[int], bytes_needed: int, files_needed: int
) -> None:
    if not (bytes_needed or files_needed):
        return
    candidates = [_candidate(number, size) for number, size in enumerate(sizes)]
    taken = first(Need(bytes_needed, files_needed, "high water"), candidates)
    assert list(taken) == candidates[: len(taken)]
    released = sum(one.blob_bytes for one in taken)
    met = released >= bytes_needed and len(taken) >= files_needed
    assert met or len(taken) == len(candidates)
    if taken:
        assert released - taken[-1].blob_bytes < bytes_needed or len(taken) - 1 < files_needed


# ---------------------------------------------------------------- why


RULES = RuleSet(
    (
        Rule("large", then=Action(ActionKind.PURGE)),
        Rule("new", then=Action(ActionKind.KEEP)),
        Rule("fills only"),
        Rule("pinned", then=Action(ActionKind.PIN, until=1.0)),
    )
)
NEED = Need(1, 0, "high water")


def test_a_purge_that_a_rule_decides_is_booked_on_the_rule_also_under_pressure() -> None:
    choice = pressed(RULES, _candidate(1, 1, rule=0), NEED, Order.LRU)
    assert (choice.drop.by, choice.drop.rule) == ("rule:large", "")
    assert choice.reason == "high water: rule 'large' purges it"


def test_an_undecided_object_goes_by_pressure_in_its_order() -> None:
    choice = pressed(RULES, _candidate(1, 1), NEED, Order.GDSF)
    assert (choice.drop.by, choice.drop.rule) == (PRESSURE, "")
    assert choice.reason == "high water: no rule decides it, next by gdsf"


def test_pressure_that_takes_what_a_rule_keeps_names_the_rule() -> None:
    choice = pressed(RULES, _candidate(1, 1, rule=1), NEED, Order.LRU, kept=True)
    assert (choice.drop.by, choice.drop.rule) == (PRESSURE, "new")
    assert choice.reason == "high water: kept by rule 'new', but nothing else is left"


def test_a_rule_run_takes_what_a_rule_purges() -> None:
    choices = ruled(RULES, [_candidate(1, 1, rule=0)])
    assert [(one.drop.by, one.reason) for one in choices] == [("rule:large", "rule 'large' purges it")]


def test_an_operators_word_purges_everything_but_what_rules_pin() -> None:
    found = everything(RULES)
    kinds = [rule.then.kind for rule in found.rules if rule.then]
    assert kinds == [ActionKind.PURGE, ActionKind.PURGE, ActionKind.PIN, ActionKind.PURGE]
    assert found.rules[-1].when == ()
    choice = ruled(found, [_candidate(1, 1, rule=1)])[0]
    assert (choice.drop.by, choice.reason, choice.drop.trim) == (OPERATOR, "an operator asked for it", False)


def test_what_a_rule_trims_is_booked_on_it_and_leaves_a_stub_whoever_takes_it() -> None:
    rules = RuleSet((Rule("heads", then=Action(ActionKind.TRIM)), Rule("new", then=Action(ActionKind.KEEP))))
    trimmed, kept = _candidate(1, 1, rule=0), _candidate(2, 1, rule=1)
    required = Need(1, 0, "high water")
    choice = ruled(rules, [trimmed])[0]
    assert (choice.drop.by, choice.drop.trim, choice.reason) == ("rule:heads", True, "rule 'heads' trims it")
    choice = pressed(rules, trimmed, required, Order.LRU)
    assert (choice.drop.by, choice.drop.trim) == ("rule:heads", True)
    assert choice.reason == "high water: rule 'heads' trims it"
    assert not pressed(rules, kept, required, Order.LRU, kept=True).drop.trim
    word = everything(rules)
    assert [choice.drop.trim for choice in ruled(word, [trimmed, kept])] == [True, False]
    assert {choice.drop.by for choice in ruled(word, [trimmed, kept])} == {OPERATOR}


def test_the_rule_file_overrides_the_budget_option_by_option() -> None:
    found = merged(BUDGET, Budget(max_bytes=5, min_free=Share(percent=1)))
    assert found == replace(BUDGET, max_bytes=Size(5), min_free=Share(percent=1))

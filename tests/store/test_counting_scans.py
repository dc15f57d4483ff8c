"""What is taken for a scan, and what is not."""

from __future__ import annotations

import dataclasses

import pytest

from tierproxy.config.sections import CountingSection
from tierproxy.config.values import Duration
from tierproxy.model import ObjectName
from tierproxy.store import scans
from tierproxy.store.scans import Scans

FIVE = CountingSection(scan_objects=5, scan_gap=Duration(10))


def followed(keys: list[str], settings: CountingSection = FIVE, *, apart: float = 1.0) -> list[list[str] | None]:
    """What each read of ``keys`` is told, with the keys of the reads that are corrected."""
    walk = Scans[str](settings)
    told = [walk.follow("c", "ann", ObjectName("mail", key), index * apart, key) for index, key in enumerate(keys)]
    return [None if one is None else list(one) for one in told]


def test_the_object_that_completes_a_run_makes_it_a_scan_and_corrects_the_reads_before() -> None:
    assert followed(list("abcdefg")) == [None, None, None, None, ["a", "b", "c", "d"], [], []]


@pytest.mark.parametrize("keys", [["u.8", "u.9", "u.10", "u.11", "u.100"], ["u.1", "u.10", "u.100", "u.11", "u.2"]])
def test_both_orders_of_numbers_are_key_order(keys: list[str]) -> None:
    assert followed(keys)[-1] == keys[:-1]


def test_a_run_keeps_to_one_order() -> None:
    assert followed(["u.9", "u.10", "u.2", "u.3", "u.4", "u.5"])[-1] is None


def test_a_step_back_begins_a_new_run() -> None:
    assert followed(list("abcdabcd")) == [None] * 8


def test_the_same_object_again_is_neither_a_step_nor_a_break() -> None:
    assert followed([*list("aabbccdd"), "e"])[-1] == ["a", "b", "c", "d"]


def test_reads_further_apart_than_the_gap_are_no_scan() -> None:
    assert followed(list("abcdefg"), apart=10.0)[-1] == []
    assert followed(list("abcdefg"), apart=10.5)[-1] is None


def test_zero_objects_switch_it_off() -> None:
    assert followed(list("abcdefg"), dataclasses.replace(FIVE, scan_objects=0)) == [None] * 7


def test_clients_and_owners_have_runs_of_their_own() -> None:
    walk = Scans[str](FIVE)
    for index, key in enumerate("abcd"):
        for client, owner in (("c", "ann"), ("d", "ann"), ("c", "bob")):
            assert walk.follow(client, owner, ObjectName("mail", key), index, key) is None
    assert walk.follow("c", "ann", ObjectName("mail", "e"), 5, "e") is not None
    assert walk.scanning("c", "ann", ObjectName("mail", "f"), 15)
    assert not walk.scanning("c", "ann", ObjectName("mail", "f"), 16)
    assert not walk.scanning("d", "ann", ObjectName("mail", "f"), 6)


def test_runs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "RUNS", 3)
    walk = Scans[str](FIVE)
    for number in range(10):
        walk.follow(str(number), "ann", ObjectName("mail", "a"), number, "a")
    assert repr(walk) == "<Scans, 3 runs>"

"""Log lines: one event each, no secrets, and no flood."""

from __future__ import annotations

import json
import logging
from typing import Any

from tierproxy.logs import Bounded, JsonFormatter, TextFormatter


def record(
    phrase: str, level: int = logging.WARNING, at: float = 0.0, logger: str = "tierproxy.store", **facts: object
) -> Any:
    made: Any = logging.LogRecord(logger, level, __file__, 1, phrase, None, None)
    made.created = 1_700_000_000 + at
    made.facts = facts
    return made


def test_a_flood_of_one_warning_is_cut_and_counted() -> None:
    bounded = Bounded()
    passed = [at for at in range(1000) if bounded.filter(record("upload failed", at=at / 1000))]
    assert passed == list(range(Bounded.BURST))
    later = record("upload failed", at=Bounded.WINDOW + 1, name="mail/u.1")
    assert bounded.filter(later)
    assert later.facts == {"name": "mail/u.1", "suppressed": 1000 - Bounded.BURST}
    after = record("upload failed", at=Bounded.WINDOW + 2)
    assert bounded.filter(after)
    assert "suppressed" not in after.facts


def test_a_clock_that_is_set_back_does_not_silence_the_log() -> None:
    bounded = Bounded()
    for _ in range(100):
        bounded.filter(record("upload failed"))
    assert bounded.filter(record("upload failed", at=-3600))


def test_other_phrases_alarms_and_what_is_no_warning_all_pass() -> None:
    bounded = Bounded()
    for _ in range(100):
        bounded.filter(record("upload failed"))
        assert bounded.filter(record("only copy damaged", logging.ERROR, logger="tierproxy.store.alarms"))
        assert bounded.filter(record("request", logging.INFO))
    assert bounded.filter(record("request failed"))


def test_a_line_is_a_line_whatever_is_in_it_and_shows_no_secret() -> None:
    odd = record("upload failed", name="a\nb", secret="hush", url="/a?X-Amz-Signature=hush&x=1")
    for formatter in (TextFormatter(), JsonFormatter()):
        line = formatter.format(odd)
        assert "\n" not in line
        assert "hush" not in line
    assert json.loads(JsonFormatter().format(odd))["name"] == "a\nb"

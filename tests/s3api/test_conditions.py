"""Conditional requests (RFC 9110 13)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.s3api.signed import refusal, request
from tierproxy.errors import NotModified, PreconditionFailed
from tierproxy.s3api.conditions import (
    UNCONDITIONAL,
    copy_conditions,
    parse_tags,
    range_holds,
    read_conditions,
    write_precondition,
)
from tierproxy.s3api.dates import amz_date, amz_stamp, format_http, format_iso, http_date
from tierproxy.s3api.faults import S3Error
from tierproxy.store.calls import ANYTHING, Precondition

ETAG = "abc"
WRITTEN = 1_000_000_000.75  # Sun, 09 Sep 2001 01:46:40 GMT and three quarters
AT = "Sun, 09 Sep 2001 01:46:40 GMT"
BEFORE = "Sun, 09 Sep 2001 01:46:39 GMT"
AFTER = "Sun, 09 Sep 2001 01:46:41 GMT"


def outcome(headers: dict[str, str]) -> int:
    try:
        read_conditions(request("GET", "/mail/a", headers)).check(ETAG, WRITTEN)
    except PreconditionFailed:
        return 412
    except NotModified:
        return 304
    return 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"If-Match": '"abc"'}, 200),
        ({"If-Match": "abc"}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"x", "abc"'}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Match": 'W/"abc"'}, 412),  # strong comparison
        ({"If-None-Match": '"abc"'}, 304),
        ({"If-None-Match": 'W/"abc"'}, 304),  # weak comparison
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x", "y"'}, 200),
        ({"If-Modified-Since": AT}, 304),
        ({"If-Modified-Since": AFTER}, 304),
        ({"If-Modified-Since": BEFORE}, 200),
        ({"If-Unmodified-Since": AT}, 200),
        ({"If-Unmodified-Since": AFTER}, 200),
        ({"If-Unmodified-Since": BEFORE}, 412),
        # 13.2.2: the tag decides and the date is not asked
        ({"If-Match": '"abc"', "If-Unmodified-Since": BEFORE}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": AFTER}, 200),
        ({"If-None-Match": '"abc"', "If-Modified-Since": BEFORE}, 304),
        # 412 comes before 304
        ({"If-Match": '"x"', "If-None-Match": '"abc"'}, 412),
        ({"If-Unmodified-Since": BEFORE, "If-None-Match": '"abc"'}, 412),
        # what is no date is ignored
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Unmodified-Since": "0"}, 200),
    ],
)
def test_a_read_is_answered_in_the_order_of_the_rfc(headers: dict[str, str], status: int) -> None:
    assert outcome(headers) == status


def test_a_read_without_conditions_costs_nothing() -> None:
    assert read_conditions(request("GET", "/mail/a")) is UNCONDITIONAL


def test_a_copy_whose_source_did_not_change_fails_instead_of_being_a_304() -> None:
    wanted = request("PUT", "/mail/b", {"x-amz-copy-source-if-none-match": ETAG, "If-Match": "other"})
    with pytest.raises(PreconditionFailed):
        copy_conditions(wanted).check_copy(ETAG, WRITTEN)
    copy_conditions(wanted).check_copy("other", WRITTEN)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ANYTHING),
        ({"If-None-Match": "*"}, Precondition(create=True)),
        ({"If-Match": '"abc"'}, Precondition(match="abc")),
        ({"If-Match": "abc"}, Precondition(match="abc")),
        ({"If-Match": "*"}, Precondition(match="*")),
    ],
)
def test_a_write_may_ask_for_absence_or_for_one_content(headers: dict[str, str], expected: Precondition) -> None:
    assert write_precondition(request("PUT", "/mail/a", headers)) == expected


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"If-None-Match": '"abc"'}, "NotImplemented"),
        ({"If-Match": '"a", "b"'}, "NotImplemented"),
        ({"If-Match": 'W/"a"'}, "NotImplemented"),
        ({"If-Match": '"a"', "If-None-Match": "*"}, "InvalidRequest"),
        ({"If-Unmodified-Since": AT}, "NotImplemented"),
        ({"x-amz-if-match-size": "3"}, "NotImplemented"),
        ({"If-Match": ""}, "InvalidArgument"),
        ({"If-Match": '"a'}, "InvalidArgument"),
    ],
)
def test_a_condition_that_cannot_be_kept_is_never_ignored(headers: dict[str, str], code: str) -> None:
    with pytest.raises(S3Error) as refused:
        write_precondition(request("PUT", "/mail/a", headers))
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        (None, True),
        ('"abc"', True),
        ("abc", True),
        ('W/"abc"', False),
        ('"x"', False),
        (AT, True),
        (AFTER, False),
        (BEFORE, False),
    ],
)
def test_if_range_needs_the_exact_object(text: str | None, holds: bool) -> None:
    assert range_holds(text, ETAG, WRITTEN) is holds


@pytest.mark.parametrize(
    "text", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_all_three_forms_of_http_dates_are_read(text: str) -> None:
    assert http_date(text) == 784111777


def test_a_two_digit_year_is_at_most_fifty_years_ahead() -> None:
    now = amz_date("20260101T000000Z")
    assert http_date("Sunday, 06-Nov-94 08:49:37 GMT", now=now) == 784111777
    assert http_date("Friday, 06-Nov-76 08:49:37 GMT", now=now) == amz_date("20761106T084937Z")


@pytest.mark.parametrize(
    "text", ["", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT", "Sun, 06 nov 1994 08:49:37 GMT", "١"]
)
def test_what_is_no_date_is_none(text: str) -> None:
    assert http_date(text) is None
    assert amz_date(text, None) is None


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 4_000_000_000))
def test_dates_come_back_as_they_went(seconds: int) -> None:
    assert http_date(format_http(seconds + 0.9)) == seconds
    assert amz_date(amz_stamp(seconds)) == seconds
    assert format_iso(seconds + 0.5).endswith(".500Z")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30) | st.text('W/", *a', max_size=20))
def test_no_text_makes_the_parsers_stumble(text: str) -> None:
    http_date(text)
    range_holds(text, ETAG, WRITTEN)
    assert refusal(lambda: parse_tags(text)) in {None, "InvalidArgument"}


def test_a_list_of_tags_has_a_limit() -> None:
    with pytest.raises(S3Error):
        parse_tags(", ".join(f'"{number}"' for number in range(1000)))

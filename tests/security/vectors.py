"""Published signatures of Signature Version 4, as data.

SUITE: the values of AWS's Signature Version 4 test suite ("aws-sig-v4-test-suite", AWS General Reference; the same data
is kept with Apache-2.0 licence in awslabs/aws-c-auth): access key AKIDEXAMPLE, us-east-1, a service called "service",
2015-08-30 12:36:00. Only cases of which S3 asks the same canonical form as other services: nothing in them is encoded
twice, and no path is normalised.

S3: "Signature Calculations for the Authorization Header" and "Authenticating Requests: Using Query Parameters" in the
Amazon S3 API reference: access key AKIAIOSFODNN7EXAMPLE, 2013-05-24.
"""

from __future__ import annotations

from dataclasses import dataclass

SUITE_ACCESS_KEY = "AKIDEXAMPLE"
SUITE_SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SUITE_DATE = "20150830T123600Z"
SUITE_HOST = "example.amazonaws.com"

S3_ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
S3_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
S3_DATE = "20130524T000000Z"
S3_HOST = "examplebucket.s3.amazonaws.com"


@dataclass(frozen=True)
class Vector:
    """``signature``: the published one. ``headers``: what is signed beside host and date. ``sent``: the target as it
    goes over the wire, where the published one could not."""

    method: str
    target: str
    signature: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    sent: str = ""
    expires: int = 0


_LETTERS = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

SUITE: dict[str, Vector] = {
    "get-vanilla": Vector("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    "get-unreserved": Vector(
        "GET", f"/{_LETTERS}", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"
    ),
    "get-utf8": Vector(
        "GET", "/ሴ", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85", sent="/%E1%88%B4"
    ),
    "get-vanilla-query-order-key-case": Vector(
        "GET", "/?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
    ),
    "get-vanilla-query-unreserved": Vector(
        "GET", f"/?{_LETTERS}={_LETTERS}", "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"
    ),
    "get-vanilla-utf8-query": Vector(
        "GET", "/?ሴ=bar", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04", sent="/?%E1%88%B4=bar"
    ),
    "get-slashes-unnormalized": Vector(
        "GET", "//example//", "87cca117541a147f6df867677d98a7d80dff226d2bfca9e4ffa899665623c7e5"
    ),
    "get-relative-relative-unnormalized": Vector(
        "GET", "/example1/example2/../..", "dc33e0856fd4baca4d7aa2146c38958283844764f38c74252a333df5e613003b"
    ),
    "get-header-key-duplicate": Vector(
        "GET", "/", "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        (("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")),
    ),
    "get-header-value-order": Vector(
        "GET", "/", "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        (("My-Header1", "value4"), ("My-Header1", "value1"), ("My-Header1", "value3"), ("My-Header1", "value2")),
    ),
    "get-header-value-trim": Vector(
        "GET", "/", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        (("My-Header1", " value1"), ("My-Header2", ' "a   b   c"')),
    ),
    "post-vanilla-query": Vector(
        "POST", "/?Param1=value1", "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"
    ),
    "post-x-www-form-urlencoded": Vector(
        "POST", "/", "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
        (
            ("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", "13"),
            ("x-amz-content-sha256", "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"),
        ),
        b"Param1=value1",
    ),
}  # fmt: skip

S3: dict[str, Vector] = {
    "GET object": Vector(
        "GET", "/test.txt", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        (("Range", "bytes=0-9"),),
    ),
    "PUT object": Vector(
        "PUT", "/test$file.text", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        (("Date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")),
        b"Welcome to Amazon S3.", sent="/test%24file.text",
    ),
    "GET bucket lifecycle": Vector(
        "GET", "/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    ),
    "list objects": Vector(
        "GET", "/?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    ),
    "presigned GET": Vector(
        "GET", "/test.txt", "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404", expires=86400
    ),
}  # fmt: skip

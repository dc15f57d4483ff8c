"""The real server for the tests here."""

from tests.fixtures_seaweed import new_bucket, seaweed

__all__ = ["new_bucket", "seaweed"]

"""The real server for the tests here."""

from fixtures_seaweed import new_bucket, seaweed  # type: ignore[import-not-found]

__all__ = ["new_bucket", "seaweed"]

"""Tests of the hit lane."""

"""Purge rules: their words, their language, what is wrong with them, and what they say of an object. Pure."""

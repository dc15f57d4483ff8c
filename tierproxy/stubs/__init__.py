"""Heads and tails of mail whose body was purged from disk: derived, bounded, least recently used first to go."""

"""What somebody tries who means harm: docs/security.md says which threat each of these is about."""

"""Every JSON document that the admin API answers and `--json` prints: one shape for both."""

"""What the admin API answers, by area."""

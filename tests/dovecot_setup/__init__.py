"""Setting Dovecot up for a mount, and every trap."""

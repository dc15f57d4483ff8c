"""What an operator of Dovecot needs: its configuration for a mount, the traps to check, private instances to try it."""

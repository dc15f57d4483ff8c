"""What ``bench_dovecot.py`` puts side by side: directories that keep mail, and what Dovecot does with them."""

"""tierproxy and its peers, side by side in one run: who they are, how they are started and asked, and what was found.
``bench_compare.py`` is the command."""

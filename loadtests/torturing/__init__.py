"""The parts of ``torture.py`` and ``soak.py``: a world that breaks, clients that remember, and a judge."""

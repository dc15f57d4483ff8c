#!/usr/bin/env python3
"""Mail behaviour against the proxy: what many users do in the morning, in a burst, in a search, in trouble.

    .venv/bin/python loadtests/scenarios.py morning-inbox --seconds 60 --users 50
    .venv/bin/python loadtests/scenarios.py all --workers 2

Scenarios: morning-inbox, delivery-burst, search-scan, cold-start, new-server, slow-s3 (docs/load-tests.md). Each starts
a ``tierproxy serve`` in front of a SeaweedFS, with a relay between them, lets locust play the phases, and judges:
errors, wrong bytes, the reads the node counted, acknowledged mail that is gone, and times as ratios to a phase of the
same run.
Exit 0 only if everything held. To ./var/load are written summary.html and locust's own report of each scenario.

As a locustfile it has a page to play by hand, against a proxy that runs:

    TIERPROXY_LOAD_KEY=demo TIERPROXY_LOAD_SECRET=... locust -f loadtests/scenarios.py --class-picker \\
        --host http://127.0.0.1:9300
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from behaviour.director import main

    sys.exit(main(__doc__ or ""))

from behaviour.people import DeliveryBurst, MorningInbox, SearchScan

__all__ = ["DeliveryBurst", "MorningInbox", "SearchScan"]

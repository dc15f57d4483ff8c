"""The catalogue in SQLite: the only truth about which objects exist, where their bytes are, and what alt must hear.

One writer thread commits every waiting change in one transaction (``writer``); the loop looks up on a read connection
of its own (``database``); pages are read in threads. A change is durable, and visible to every look-up, when its call
returns. Another process uses ``open_reader`` and ``open_outside`` and nothing else.
"""

from tierproxy.catalogue.connection import catalogue_file
from tierproxy.catalogue.finding import FoundPage, Wanted
from tierproxy.catalogue.migrations import refuse_newer_file
from tierproxy.catalogue.outside import CatalogueReader, OutsideChanges, hurry_from_outside, open_outside, open_reader
from tierproxy.catalogue.reserve import RESERVE
from tierproxy.catalogue.reserve import Reserve as CatalogueReserve
from tierproxy.catalogue.sqlite import SqliteCatalogue

__all__ = [
    "RESERVE",
    "CatalogueReader",
    "CatalogueReserve",
    "FoundPage",
    "OutsideChanges",
    "SqliteCatalogue",
    "Wanted",
    "catalogue_file",
    "hurry_from_outside",
    "open_outside",
    "open_reader",
    "refuse_newer_file",
]

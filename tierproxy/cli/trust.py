"""The node's own certificate, for commands on its machine."""

from __future__ import annotations

import ssl


def own_certificate(file: str) -> ssl.SSLContext:
    """Trusts the certificate in ``file``, with the chain that is there, mostly without the root, whatever name it was
    made for: it is the node's own, and the node is on this machine. Nor is its form judged, which Python does by itself
    from 3.13 on (``VERIFY_X509_STRICT``, RFC 5280): small authorities leave out key identifiers. Raises OSError."""
    context = ssl.create_default_context(cafile=file)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context

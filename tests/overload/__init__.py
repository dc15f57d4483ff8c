"""Too much at once: connections, requests, bodies, memory."""

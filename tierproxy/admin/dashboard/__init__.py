"""The dashboard: what an operator sees in a browser. Conventions for its parts: docs/dashboard.md."""

"""The admin port: JSON API, login and dashboard. The only place that knows FastAPI."""

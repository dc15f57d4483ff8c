"""Mail behaviour for locust: what people, deliveries and machines do, and whether the proxy was any good at it."""

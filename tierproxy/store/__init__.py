"""The heart: two tiers as one store. Sees ports only."""

"""Configuration: one declaration per option (``sections``), typed values (``values``), TOML and environment (``load``),
the annotated file and the documentation (``describe``)."""

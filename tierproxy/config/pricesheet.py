"""Which price sheet counts: the operator's, or else the one that comes with tierproxy."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from tierproxy.errors import ConfigError

SHEET = "prices.toml"
SHIPPED = f"{SHEET} that comes with tierproxy"


@dataclass(frozen=True, slots=True)
class PriceSheet:
    """A sheet's ``text``. ``name``: where it is, for people; ``own``: an operator put it there."""

    text: str
    name: str
    own: bool


def price_sheet(config_file: Path | None, named: Path | None = None) -> PriceSheet:
    """The sheet that is ``named``; else ``prices.toml`` beside the configuration, or below ``config/``; else the one in
    the package. ``tierproxy.whatif.prices.parse`` reads it. Raises ConfigError for a file that cannot be read."""
    beside = [config_file.parent / SHEET] if config_file is not None else []
    places = [named] if named is not None else [one for one in (*beside, Path("config") / SHEET) if one.is_file()]
    if not places:
        return PriceSheet(files("tierproxy.config").joinpath(SHEET).read_text(encoding="utf-8"), SHIPPED, own=False)
    try:
        return PriceSheet(places[0].read_text(encoding="utf-8"), str(places[0]), own=True)
    except OSError as error:
        raise ConfigError(f"cannot read {places[0]}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {places[0]}: it is not UTF-8 text ({error})") from error

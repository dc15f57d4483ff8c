"""Which files the dashboard's pages ask for."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tierproxy.errors import ConfigError

HERE = Path(__file__).parent
FOLDER = "dashboard"  #: below /static/<hash>/


def dashboard_assets() -> tuple[tuple[str, Path], ...]:
    """For ``Site.assets``: our own files, and plotly's script out of its wheel (pages load it with their first chart).
    Raises ConfigError without plotly."""
    return ((FOLDER, HERE / "static"), (f"{FOLDER}/plotly.min.js", plotly_script()))


def plotly_script() -> Path:
    """Found without importing the package, which takes half a second. Raises ConfigError."""
    spec = find_spec("plotly")
    path = Path(spec.origin).parent / "package_data" / "plotly.min.js" if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise ConfigError("plotly's script is not installed", hint="pip install plotly")
    return path

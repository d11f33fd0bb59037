"""New figures of matplotlib, without its global state."""

from __future__ import annotations

from typing import Any


def new_figure(width: float, height: float) -> Any:
    """A figure of so many inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "pictures need matplotlib: pip install 'wsss-nonsalient[plot]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")

"""Gives all plots one look: colours by outcome, quiet axes, texts that are never taken for markup."""

from html import escape
from typing import Any

import plotly.graph_objects as go

INK, MUTED, GRID = "#1c2430", "#667085", "#e7eaef"
BEST, DEFAULT, OTHERS = "#1d5ea8", "#8a94a6", "#bccadb"
GAIN, LOSS = "#1d5ea8", "#b4442f"
OUTCOMES = {
    "completed": "#3f83c4",
    "pruned": "#d9a441",
    "out of memory": "#b4442f",
    "diverged": "#8e3b6f",
    "crashed": "#4a2c2a",
    "unfinished": "#9db2ce",
    "replicates": "#5aa9a3",
}
SCALE = [[0, "#b3c7de"], [0.5, "#3f83c4"], [1, "#0b3466"]]
"""Colours from a low to a high objective; the lowest can still be seen on white."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
LONGEST = 26

_AXIS: dict[str, Any] = {
    "gridcolor": GRID,
    "linecolor": GRID,
    "zeroline": False,
    "automargin": True,
    "ticks": "",
}
_AXIS["title"] = {"standoff": 12}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 12, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": [BEST, "#d9a441", "#5aa9a3", "#8e3b6f", "#b4442f", "#8a94a6"],
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "hoverlabel": {"font": {"family": FONT}, "align": "left"},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        "margin": {"l": 8, "r": 12, "t": 28, "b": 8},
    }
)


def plain(text: object) -> str:
    """Writes a text such that plotly shows it letter by letter: plotly takes < for the beginning of a tag."""
    return escape(str(text), quote=False)


def short(text: object) -> str:
    """Shortens a label such that it leaves room for the plot."""
    whole = str(text)
    return plain(whole if len(whole) <= LONGEST else f"{whole[: LONGEST - 1]}…")


def styled(figure: go.Figure, height: int, **layout: Any) -> go.Figure:
    for axis in (*figure.select_xaxes({"type": "log"}), *figure.select_yaxes({"type": "log"})):
        axis.update(dtick="D2", exponentformat="power")
    figure.update_layout(template=TEMPLATE, title=None, height=height, width=None, autosize=True, **layout)
    return figure

"""What stands beside a picture: probabilities as bars, and the legend of a mask. Names in them are plain text."""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagewright.colours import colour

MOST_BARS = 10
BAR_PX = 26


def best(probabilities: NDArray[np.float64]) -> list[int]:
    """The indices of the most probable classes, at most ten, best first."""
    return [int(index) for index in np.argsort(-probabilities, kind="stable")[:MOST_BARS]]


def bars(names: Sequence[str], probabilities: NDArray[np.float64], ink: str) -> dict[str, Any]:
    """A Vega-Lite chart of the most probable classes.

    Args:
        names: of the classes.
        probabilities: of the classes, 0 to 1.
        ink: the colour of the numbers; Streamlit's themes have none for them.
    """
    # Two classes may have one name, so a bar is known by its rank.
    values = [
        {"rank": rank, "name": names[index], "probability": float(probabilities[index])}
        | {"text": percent(probabilities[index])}
        for rank, index in enumerate(best(probabilities))
    ]
    named = " : ".join(f"datum.value == {value['rank']} ? {_quoted(str(value['name']))}" for value in values)
    y = {
        "field": "rank",
        "type": "ordinal",
        "title": None,
        "axis": {"labelExpr": f"{named} : ''", "labelLimit": 180, "ticks": False, "domain": False},
    }
    x = {
        "field": "probability",
        "type": "quantitative",
        "title": "probability",
        "scale": {"domain": [0, 1]},
        "axis": {"labelExpr": "format(100 * datum.value, '.0f') + ' %'", "tickCount": 5},
    }
    told = [
        {"field": "name", "title": "class"},
        {"field": "text", "title": "probability"},
    ]
    return {
        "data": {"values": values},
        "height": {"step": BAR_PX},
        "encoding": {"y": y, "x": x, "tooltip": told},
        "layer": [
            {"mark": {"type": "bar", "cornerRadiusEnd": 3}},
            {
                "mark": {"type": "text", "align": "left", "dx": 4, "color": ink},
                "encoding": {"text": {"field": "text"}},
            },
        ],
    }


def bars_in_words(names: Sequence[str], probabilities: NDArray[np.float64]) -> str:
    """The same chart for somebody who hears it."""
    return "Probabilities: " + ", ".join(
        f"{names[index]} {percent(probabilities[index])}" for index in best(probabilities)
    )


def said(facts: Mapping[str, str]) -> str:
    """HTML that shows facts side by side, each large below its name; however long, they are shown whole."""
    parts = (
        f'<div><dt>{html.escape(name)}</dt><dd style="{LARGE}">{html.escape(text)}</dd></div>'
        for name, text in facts.items()
    )
    return f'<dl style="{SIDE_BY_SIDE}">{"".join(parts)}</dl>'


def legend(names: Sequence[str], areas: NDArray[np.float64]) -> str:
    """An HTML table of the classes: colour, name and area; the largest first.

    Args:
        names: of the classes; the first has no colour.
        areas: of the classes, 0 to 1.
    """
    rows = []
    for index in np.argsort(-areas, kind="stable"):
        fill = f"background: rgb{colour(int(index))}" if index else "background: transparent"
        note = "" if index else " (not coloured)"
        rows.append(
            f'<tr><td style="{CELL}"><span aria-hidden="true" style="{SWATCH}; {fill}"></span>'
            f"{html.escape(names[index])}{note}</td>"
            f'<td style="{CELL}; text-align: right">{percent(areas[index])}</td></tr>'
        )
    return (
        f'<table style="border-collapse: collapse"><thead><tr><th scope="col" style="{CELL}; text-align: left">class'
        f'</th><th scope="col" style="{CELL}; text-align: right">area</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


SIDE_BY_SIDE = "display: flex; flex-wrap: wrap; gap: 0.5rem 3rem; margin: 0; padding: 0"
LARGE = "margin: 0; padding: 0; font-size: 2rem; line-height: 1.3; overflow-wrap: anywhere"
CELL = "padding: 4px 24px 4px 0; border-bottom: 1px solid rgba(128, 128, 128, 0.3)"
SWATCH = (
    "display: inline-block; width: 14px; height: 14px; margin-right: 10px; vertical-align: -2px;"
    " border: 1px solid gray; border-radius: 3px"
)


def percent(share: float) -> str:
    """A share, 0 to 1, in words."""
    return f"{100 * share:.1f} %"


def plain(text: str) -> str:
    """Text that Markdown shows as it is: file names and class names may hold any character."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


def _quoted(text: str) -> str:
    """Text as a string of Vega's expressions."""
    return "'" + re.sub(r"[\\'\r\n]", lambda found: f"\\u{ord(found[0]):04x}", text) + "'"

"""The chart of a simulated month, as SVG that can be read on light and on dark pages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from retrieval.metrics import mean_with_interval

TITLE = "Recall@5 in a simulated month of feedback, with 95 % intervals"
#: Between two labels, as a share of the axis.
GAP = 0.065
#: In the middle between white and the dark grey of pages, so that they stand out on both.
TEXT, GRID = "#767c85", "#767c8544"
#: Label, colour and mark: whoever cannot tell the colours apart has the marks.
LINES = {
    "others": ("other documents", "#2d945f", "s"),
    "asked": ("withheld: asked", "#2f7de1", "o"),
    "reworded": ("withheld: in other words", "#c4631b", "^"),
    "never asked": ("withheld: never asked", "#9b6bd3", "D"),
}
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "kbadmin",  # the same numbers, the same file
    "font.family": "sans-serif",
    "font.sans-serif": ["system-ui", "Segoe UI", "Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 11,
}


def draw(curve: Sequence[tuple[int, Mapping[str, Sequence[float]]]], path: Path) -> None:
    """Recall of each kind of questions by day, with 95 % intervals."""
    days = [day for day, _values in curve]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        ends = {}
        for kind, (_label, colour, mark) in LINES.items():
            points = [mean_with_interval(values[kind]) for _day, values in curve]
            means = [point.mean for point in points]
            axes.plot(
                days, means, color=colour, marker=mark, markersize=5, linewidth=2, clip_on=False
            )
            axes.fill_between(
                days,
                [point.low for point in points],
                [point.high for point in points],
                color=colour,
                alpha=0.16,
                linewidth=0,
            )
            ends[kind] = means[-1]
        for kind, place in apart(ends).items():
            label, colour, _mark = LINES[kind]
            axes.annotate(
                f"{label}: {ends[kind]:.2f}",
                (days[-1], place),
                xytext=(10, 0),
                textcoords="offset points",
                color=colour,
                verticalalignment="center",
                annotation_clip=False,
            )
        axes.set(xlabel="day", ylim=(-0.02, 1.02), xlim=(days[0], days[-1]))
        axes.set_title(TITLE, color=TEXT, loc="left", fontsize=11)
        axes.xaxis.label.set_color(TEXT)
        axes.tick_params(colors=TEXT, length=0)
        axes.grid(color=GRID, linewidth=0.8, axis="y")
        for name, spine in axes.spines.items():
            spine.set_visible(name == "bottom")
            spine.set_color(TEXT)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(
            path, format="svg", transparent=True, metadata={"Date": None, "Title": TITLE}
        )


def apart(values: Mapping[str, float]) -> dict[str, float]:
    """Where labels stand that are not to cover each other, from the highest value down."""
    places: dict[str, float] = {}
    highest = 1.0
    for kind, value in sorted(values.items(), key=lambda pair: -pair[1]):
        places[kind] = min(value, highest)
        highest = places[kind] - GAP
    return places

"""
How the plots are drawn.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.load import Samples
from benchmarks.report import conditions, middle

INK, FAINT = "#22303c", "#8a97a3"
COLORS = ["#8a97a3", "#c2a469", "#b0785f", "#2f7f79", "#12456b", "#8d5a97", "#5b8c3e"]


def figure(rows: int, columns: int, width: float = 10.0, height: float = 5.0) -> tuple[Any, list[Any]]:
    """An empty picture with plots in it, row by row; drawn without a screen."""
    import matplotlib as mpl  # noqa: PLC0415 (an extra; the tables can do without)

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    plain = {"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": FAINT, "axes.labelcolor": INK}
    text = {"font.size": 9, "text.color": INK, "xtick.color": INK, "ytick.color": INK, "axes.titlelocation": "left"}
    mpl.rcParams.update({**plain, **text, "axes.titlesize": 10, "axes.titleweight": "bold", "legend.frameon": False})
    drawing, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained")
    return drawing, [axis for row in axes for axis in row]


def bars(axis: Any, title: str, unit: str, samples: Samples, asked: str, names: Sequence[str], kind: str) -> None:
    """The medians as bars with their figures, and each round as a dot on them."""
    shown = [name for name in names if samples.get((asked, name))]
    for place, name in enumerate(shown):
        mine = samples[asked, name]
        value = middle(mine, kind)
        axis.barh(place, value, color=COLORS[list(names).index(name) % len(COLORS)], height=0.62)
        axis.plot([getattr(each, kind) for each in mine], [place] * len(mine), "|", color=INK, ms=9, alpha=0.55)
        furthest = max(value, *(getattr(each, kind) for each in mine))
        axis.annotate(f"{value:,.0f}", (furthest, place), (5, 0), textcoords="offset points", va="center")
    axis.set_yticks(range(len(shown)), shown)
    axis.invert_yaxis()
    axis.margins(x=0.14)
    axis.set_title(title)
    axis.set_xlabel(unit)
    axis.tick_params(axis="y", length=0)
    axis.xaxis.set_major_locator(mpl_ticker().MaxNLocator(4))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def mpl_ticker() -> Any:
    """The part of matplotlib that places ticks."""
    from matplotlib import ticker  # noqa: PLC0415

    return ticker


def curves(axis: Any, name: str, points: Mapping[float, Sequence[float]], color: str, *, logarithmic: bool) -> None:
    """Medians as a curve over a logarithmic scale, and each round as a dot; up is logarithmic too, or begins at 0."""
    places = sorted(points)
    axis.plot(places, [median(points[place]) for place in places], "-o", ms=4, label=name, color=color)
    for place in places:
        axis.plot([place] * len(points[place]), points[place], ".", color=color, ms=4, alpha=0.4)
    axis.set_xscale("log")
    if logarithmic:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(mpl_ticker().LogLocator(subs=(1, 2, 5)))
    else:
        axis.set_ylim(0, max(axis.get_ylim()[1], 1.35 * max(map(max, points.values()))))
    axis.minorticks_off()
    axis.grid(visible=True, which="major", color="#e4e8eb", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")


def save(drawing: Any, path: Path, title: str) -> None:
    """Write the picture, with what was measured and when under it."""
    drawing.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)
    drawing.supxlabel(conditions(), x=0.01, ha="left", fontsize=6.5, color=FAINT)
    drawing.savefig(path, dpi=110, metadata={"Software": ""})

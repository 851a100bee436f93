"""The plots of the numbers page, as SVG: the same bytes for the same results and the same matplotlib.

Each in a form for light and one for dark pages; texts stay texts. What it was made of is written into it, as
a digest, so that a test can tell whether results and plots belong together.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, Final

import attrs

from benchmarks import durations, slots, sweep
from benchmarks.peers import BARE, FAL_ASYNC, FAL_CLIENT, PLAIN
from benchmarks.queue import OURS, THEIRS

__all__ = ["digest_in", "digest_of", "plots"]

_SIZE: Final = (7.2, 3.6)
_INK: Final = {"light": "#3b3f46", "dark": "#c8ccd2"}
#: Told apart by those who see few colours, on white and on black.
_BLUE, _ORANGE, _GREEN, _GREY = "#2f86d6", "#e2812b", "#2aa876", "#8b929c"
_COLOURS: Final = {
    FAL_ASYNC: _BLUE,
    PLAIN: _GREEN,
    FAL_CLIENT: _ORANGE,
    BARE: _GREY,
    f"{OURS}, streams refused": _GREEN,
    slots.OURS: _BLUE,
    slots.THEIRS: _ORANGE,
}
_MARKERS: Final = {_BLUE: "o", _GREEN: "s", _ORANGE: "^", _GREY: "D"}
_SOURCE: Final = "benchmarks, sha256:"

assert OURS == FAL_ASYNC
assert THEIRS == FAL_CLIENT


def digest_of(report: Any) -> str:
    """Of what a plot is made of."""
    text = json.dumps(attrs.asdict(report), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_in(svg: str) -> str | None:
    """Of what a plot was made of; None if it does not say."""
    _, found, rest = svg.partition(_SOURCE)
    return rest[:64] if found else None


def plots(
    throughput: sweep.Report, slot_use: slots.Report, requests: durations.Report
) -> Mapping[str, str]:
    """All plots by the names of their files."""
    made = {}
    for theme, ink in _INK.items():
        made[f"throughput-{theme}.svg"] = _throughput(throughput, ink)
        made[f"slots-{theme}.svg"] = _slots(slot_use, ink)
        made[f"requests-{theme}.svg"] = _requests(requests, ink)
    return made


def _throughput(report: sweep.Report, ink: str) -> str:
    figure, (axes,) = _figure()
    for peer in (BARE, PLAIN, FAL_ASYNC, FAL_CLIENT):
        found = [(p.in_flight, p.rates[peer]) for p in report.points if p.rates.get(peer)]
        counts = [count for count, _ in found]
        _line(axes, peer, counts, [median(rates) for _, rates in found])
        spread = [min(rates) for _, rates in found], [max(rates) for _, rates in found]
        axes.fill_between(counts, *spread, color=_COLOURS[peer], alpha=0.18, linewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("calls in flight")
    axes.set_ylabel("calls a second")
    counts = [point.in_flight for point in report.points]
    _ticks(axes.xaxis, counts)
    _ticks(
        axes.yaxis, _decades(r for p in report.points for rates in p.rates.values() for r in rates)
    )
    return _drawn(figure, ink, report)


def _slots(report: slots.Report, ink: str) -> str:
    figure, all_axes = _figure(len(report.runs))
    for axes, run in zip(all_axes, report.runs, strict=True):
        at, limit, used = ([look[place] for look in run.looks] for place in range(3))
        turns = [n for n in range(len(at)) if not 0 < n < len(at) - 1 or limit[n] != limit[n - 1]]
        colour = _COLOURS[run.name]
        axes.fill_between(at, used, color=colour, alpha=0.22, linewidth=0)
        axes.plot(at, used, color=colour, linewidth=1.2, label=run.name)
        axes.step(
            [at[n] for n in turns],
            [limit[n] for n in turns],
            where="post",
            color=_GREY,
            linestyle="--",
            linewidth=1.4,
            label="the account's limit",
        )
        axes.set_ylim(0, max(limit) * 1.35)
        axes.set_xlim(0, max(at))
        axes.set_ylabel("in flight")
    all_axes[-1].set_xlabel("seconds")
    return _drawn(figure, ink, report)


def _requests(report: durations.Report, ink: str) -> str:
    figure, (axes,) = _figure()
    for name, by_length in report.by_name().items():
        _line(axes, name, list(by_length), list(by_length.values()))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("seconds that a job takes")
    axes.set_ylabel("requests for each job")
    _ticks(axes.xaxis, sorted({point.seconds for point in report.points}))
    _ticks(axes.yaxis, _decades(point.per_job for point in report.points))
    return _drawn(figure, ink, report)


# --- drawing ----------------------------------------------------------------------------------------


def _figure(rows: int = 1) -> tuple[Any, Sequence[Any]]:
    from matplotlib.figure import Figure

    width, height = _SIZE
    figure = Figure(figsize=(width, height * (1 + rows) / 2), layout="constrained")
    return figure, figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]


def _line(axes: Any, name: str, x: Sequence[float], y: Sequence[float]) -> None:
    colour = _COLOURS[name]
    axes.plot(x, y, color=colour, marker=_MARKERS[colour], markersize=5, linewidth=1.8, label=name)


def _ticks(axis: Any, values: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    axis.set_major_locator(FixedLocator(values))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:,g}")


def _decades(values: Iterable[float]) -> list[float]:
    """1, 3, 10, 30 … around the values."""
    found = list(values)
    steps = [step * 10.0**power for power in range(-1, 7) for step in (1, 3)]
    inside = [step for step in steps if min(found) <= step <= max(found)]
    return inside or [min(found), max(found)]


def _drawn(figure: Any, ink: str, report: Any) -> str:
    import matplotlib as mpl

    for axes in figure.axes:
        axes.grid(visible=True, color=ink, alpha=0.15, linewidth=0.6)
        axes.tick_params(colors=ink, which="both", length=3)
        axes.xaxis.label.set_color(ink)
        axes.yaxis.label.set_color(ink)
        for side, spine in axes.spines.items():
            spine.set_visible(side in {"left", "bottom"})
            spine.set_color(ink)
        axes.legend(frameon=False, labelcolor=ink, loc="best", ncols=2)
    file = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Source": _SOURCE + digest_of(report)}
    settings = {"svg.fonttype": "none", "svg.hashsalt": "fal_async", "font.family": "sans-serif"}
    with mpl.rc_context(settings):
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"

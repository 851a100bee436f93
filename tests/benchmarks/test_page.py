"""The tables and plots of made-up results."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import attrs
import pytest

from benchmarks.figures import Target
from benchmarks.page import includes, readme_with, write_pages
from benchmarks.plots import digest_in, digest_of, plots
from benchmarks.results import Part, write
from benchmarks.summary import Summary
from tests.benchmarks.made_up import PARTS, REPORTS, part

README = """# A package

<!-- numbers: made by python -m benchmarks.page -->
what was here
<!-- /numbers -->

The end.
"""
PLOTTED = (REPORTS["sweep"], REPORTS["slots"], REPORTS["durations"])


def row(markdown: str, begins: str) -> list[str]:
    (found,) = (line for line in markdown.splitlines() if line.startswith(f"| {begins}"))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_the_table_takes_the_place_between_the_comments() -> None:
    written = readme_with(README, PARTS)
    assert "what was here" not in written
    assert written.startswith("# A package\n\n<!-- numbers")
    assert written.endswith("<!-- /numbers -->\n\nThe end.\n")
    assert readme_with(written, PARTS) == written


def test_a_readme_without_the_comments_is_not_written_over() -> None:
    with pytest.raises(ValueError, match="no place for the numbers"):
        readme_with("# A package", PARTS)


def test_a_row_has_the_figure_of_everybody_and_what_was_asked() -> None:
    table = Summary(PARTS).markdown()
    assert row(table, "calls a second, 64") == [
        "calls a second, 64 in flight",
        "20,000",
        "10,000",
        "50",
        "**11,000**",
        "1.1 of plain aiohttp (≥ 1)",
    ]
    assert row(table, "requests for a queued job of 10 s")[3:] == ["100", "**3.0**", "≤ 4"]
    assert row(table, "1 GiB up")[2:4] == ["0.50 s, 48 MiB", "0.50 s, 48 MiB"]


def test_a_target_that_was_missed_is_called_so_in_its_row_and_below() -> None:
    table = Summary(PARTS).markdown()
    assert "**missed**" in row(table, "1 GiB up")[5]
    assert "**missed**" not in row(table, "calls a second, 64")[5]
    assert "Missed: " in table
    assert "1 GiB up, time ours / fal-client: 1, asked ≤ 0.6" in table


def test_the_machine_the_versions_and_the_day_are_told() -> None:
    first = Summary(PARTS).markdown().splitlines()[0]
    assert first == "64 cores of a dream; Python 3.11.7, aiohttp 3.14.5; 2026-01-02."


def test_figures_of_a_quick_form_are_marked() -> None:
    quick = {name: part(name, quick=True) for name in REPORTS}
    assert "quick form" in Summary(quick).markdown()


def test_what_was_measured_elsewhere_says_where_itself() -> None:
    mixed = {**PARTS, "queue": part("queue", machine="an abacus")}
    assert includes(mixed)["queue.txt"].startswith("an abacus; ")
    assert includes(mixed)["files.txt"].startswith(".. code-block:: text")


def test_what_was_not_measured_is_left_out() -> None:
    only = {"files": PARTS["files"]}
    assert len(Summary(only).rows()) == 2
    assert includes(only)["throughput.txt"] == ""
    assert Summary(only).plotted() is None


def test_throughput_on_another_python_is_told_beside() -> None:
    other = part("throughput", versions={"Python": "3.13.0"})
    told = Summary({**PARTS, "throughput-3.13": other})
    assert "On Python 3.13.0: 1.10 (1.10-1.10) of plain aiohttp" in told.markdown()
    assert "Python 3.13.0, 64 in flight: of plain aiohttp" in told.targets()


def kills(*wrong: str) -> Part:
    modes = [
        {"kills": 200, "inputs": 4000, "wrong": list(wrong)},
        {"kills": 200, "inputs": 4000, "wrong": []},
    ]
    return attrs.evolve(PARTS["files"], targets=[], measured={"modes": modes})


def test_kills_are_told_in_a_sentence() -> None:
    told = Summary({"kill": kills()}).markdown()
    assert "8,000 inputs in all were killed 400 times at random instants, in 2 modes" in told
    assert "every input ended with one result" in told
    assert "1 things were wrong" in Summary({"kill": kills("it was lost")}).markdown()


def test_a_soak_is_told_in_a_sentence() -> None:
    measured = {"seconds": 1800.0, "calls": 70_000, "faults": {"reset": 500, "stall": 4}}
    good = attrs.evolve(
        PARTS["files"], targets=[Target("tasks left", 1, most=1)], measured=measured
    )
    assert (
        "30 minutes of mixed load, 70,000 calls among 504 faults" in Summary({"soak": good}).soak()
    )
    assert "agree on every one" in Summary({"soak": good}).soak()
    bad = attrs.evolve(good, targets=[Target("tasks left", 2, most=1)])
    assert "not as it should be: tasks left." in Summary({"soak": bad}).soak()


def test_plots_are_the_same_for_the_same_results() -> None:
    assert plots(*PLOTTED) == plots(*PLOTTED)


def test_a_plot_is_an_svg_with_texts_without_a_date_that_says_what_it_was_made_of() -> None:
    drawn = plots(*PLOTTED)
    assert sorted(drawn) == [
        f"{name}-{theme}.svg"
        for name in ("requests", "slots", "throughput")
        for theme in ("dark", "light")
    ]
    for svg in drawn.values():
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
        assert "fal_async" in "".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))
        assert "dc:date" not in svg
    assert digest_in(drawn["slots-dark.svg"]) == digest_of(REPORTS["slots"])


def test_dark_and_light_differ_in_their_ink_only() -> None:
    drawn = {name: re.sub("m[0-9a-f]{10}", "", svg) for name, svg in plots(*PLOTTED).items()}
    light = drawn["requests-light.svg"].replace("#3b3f46", "#c8ccd2")
    assert light == drawn["requests-dark.svg"]


def test_one_command_writes_it_all(tmp_path: Path) -> None:
    write(tmp_path / "results.json", PARTS)
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    home = tmp_path / "numbers"
    home.mkdir()
    write_pages(tmp_path / "results.json", home, tmp_path / "README.md")
    assert {path.name for path in home.iterdir()} == {*includes(PARTS), *plots(*PLOTTED)}
    assert "calls a second" in (tmp_path / "README.md").read_text(encoding="utf-8")

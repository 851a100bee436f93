"""What was measured is kept in a file, measurement by measurement, and told in words."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import cattrs
import pytest

from benchmarks.figures import Target
from benchmarks.reporting import parser, tell
from benchmarks.results import Part, read, write
from tests.benchmarks.made_up import PARTS, REPORTS, part


@attrs.frozen
class Found:
    figure: float

    def text(self) -> str:
        return f"it is {self.figure:g}"

    def targets(self) -> list[Target]:
        return [Target("the figure", self.figure, most=2)]


def test_a_file_of_results_is_read_as_it_was_written(tmp_path: Path) -> None:
    write(tmp_path / "results.json", PARTS)
    assert read(tmp_path / "results.json") == PARTS


def test_where_there_is_no_file_there_are_no_results(tmp_path: Path) -> None:
    assert read(tmp_path / "results.json") == {}


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_is_made_again_of_what_is_kept_of_it(name: str) -> None:
    again = cattrs.structure(PARTS[name].measured, type(REPORTS[name]))
    assert again.text() == PARTS[name].text
    assert [(t.name, t.met) for t in again.targets()] == [
        (t.name, t.met) for t in PARTS[name].targets
    ]


def test_what_is_measured_again_takes_the_place_of_what_was_and_the_rest_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "numbers" / "results.json"
    assert tell({"one": Found(1.0), "two": Found(2.0)}, as_json=str(results)) == 0
    assert tell({"one": Found(1.5)}, as_json=str(results), quick=True) == 0
    kept = read(results)
    assert {name: (part.measured, part.quick) for name, part in kept.items()} == {
        "one": ({"figure": 1.5}, True),
        "two": ({"figure": 2.0}, False),
    }
    assert "it is 1.5" in capsys.readouterr().out


def test_digits_that_are_noise_are_not_kept(tmp_path: Path) -> None:
    tell({"one": Found(1 / 3)}, as_json=str(tmp_path / "results.json"))
    assert read(tmp_path / "results.json")["one"].measured == {"figure": 0.333333}


def test_a_target_that_is_missed_is_told_by_the_exit_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert tell({"one": Found(3.0)}, as_json=None) == 1
    assert "NO" in capsys.readouterr().out


def test_json_without_a_file_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    options = parser("A measurement.").parse_args(["--json"])
    tell({"one": Found(1.0)}, as_json=options.json)
    printed = json.loads(capsys.readouterr().out)
    assert cattrs.structure(printed, dict[str, Part])["one"].text == "it is 1"


def test_how_quickly_it_was_measured_stays_with_it() -> None:
    assert part("queue", quick=True) != part("queue")

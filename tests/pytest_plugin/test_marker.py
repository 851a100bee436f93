"""``@pytest.mark.fal`` sets the emulator up, and what it cannot mean fails in a sentence."""

from __future__ import annotations

import inspect

import pytest

from fal_async.emulator import Emulator
from fal_async.pytest_plugin.settings import EMULATOR_SETTINGS
from tests.pytest_plugin.conftest import Run

pytest_plugins = ["pytester"]


def test_it_takes_what_an_emulator_takes_but_for_its_address() -> None:
    assert {*inspect.signature(Emulator).parameters} - {"host", "port", "tls"} == EMULATOR_SETTINGS


def test_the_closest_marker_says_it(run: Run) -> None:
    done = run(
        """
        import pytest
        from fal_async.emulator import Account, Model

        pytestmark = pytest.mark.fal(limit=1, seed=7)

        def shout(input):
            return input["text"].upper()

        @pytest.mark.fal(limit=2)
        class TestBoth:
            def test_class(self, fal_emulator):
                assert fal_emulator.limit == 2

            @pytest.mark.fal(limit=None, latency=0.001, run_time=lambda input: 0, models=[])
            def test_function(self, fal_emulator):
                assert fal_emulator.limit is None

        def test_module(fal_emulator):
            assert fal_emulator.limit == 1

        @pytest.mark.fal(models=Model(id="you/shout", function=shout), faults="ingress_502")
        async def test_one_of_each(fal, fal_emulator):
            assert [rule.kind for rule in fal_emulator.faults] == ["ingress_502"]
            fal_emulator.faults.clear()
            assert await fal.run("you/shout", {"text": "hello"}) == "HELLO"

        @pytest.mark.fal(clock="virtual", models=None)
        async def test_time(fal_emulator):
            await fal_emulator.advance(3600)
            assert fal_emulator.time == 3600

        @pytest.mark.fal(keys=Account(keys={"me:1"}))
        def test_an_account_says_its_limit_itself(fal_emulator):
            pass
        """
    )
    done.assert_outcomes(passed=5, errors=1)
    done.stdout.fnmatch_lines(["*@pytest.mark.fal: an Account says itself *"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("2", "it takes settings by name, such as limit=2"),
        ("limt=2", "there is no setting 'limt'; 'limit', perhaps. There are *"),
        ("port=80", "there is no setting 'port'*"),
        ("limit=-1", "limit is how many calls may be in progress, or None, not -1"),
        ("limit=True", "limit is *"),
        ("latency='long'", "latency is seconds of a round trip, not 'long'"),
        ("run_time=-1", "run_time is seconds, or a function of the input, not -1"),
        ("clock='real ly'", 'clock is "real" or "virtual", not *'),
        ("clock=[]", 'clock is "real" or "virtual", not *'),
        ("allow_network=1", "allow_network is True or False, not 1"),
        ("name_limit=None", "name_limit is True or False, not None"),
        ("seed='7'", "seed is a number, not '7'"),
        ("faults=['rest']", "faults: 'rest' is no kind of fault*"),
        ("faults=5", "faults are kinds, such as 'reset', or fal_async.emulator.Fault, not 5"),
        ("faults=None", "faults are kinds, *, not None"),
        ("locked=['me:1']", "locked is a key's reason by the key: {key: reason}, not [[]'me:1'[]]"),
        ("faults=[5]", "faults are kinds, such as 'reset', or fal_async.emulator.Fault, not *"),
        ("runners=2", "runners is a fal_async.emulator.RunnerSettings, not 2"),
        ("requeue=7", "requeue is a fal_async.emulator.RequeueSettings, not 7"),
        ("history='x'", "history is a fal_async.emulator.HistorySettings, not 'x'"),
        ("storage=False", "storage is a fal_async.emulator.StorageSettings, not False"),
        ("models=['you/shout']", "models are fal_async.emulator.Model, not *"),
        ("models=5", "models are fal_async.emulator.Model, not 5"),
        ("keys='me:secret'", "keys is a collection of keys, not one string"),
    ],
)
def test_what_it_cannot_mean_is_told(run: Run, given: str, said: str) -> None:
    done = run(
        f"""
        import pytest

        @pytest.mark.fal({given})
        def test_it(fal_emulator):
            pass
        """
    )
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines([f"@pytest.mark.fal: {said}"])


def test_a_name_that_does_not_exist_is_told_without_the_fixture_too(run: Run) -> None:
    done = run("import pytest\n@pytest.mark.fal(limt=2)\ndef test_it(): pass")
    done.assert_outcomes(errors=1)


def test_it_is_listed_among_the_markers(run: Run) -> None:
    done = run("", "--markers")
    done.stdout.fnmatch_lines(["@pytest.mark.fal(limit=None, *"])

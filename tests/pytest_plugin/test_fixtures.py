"""What the fixtures give, in each kind of test."""

from __future__ import annotations

import json

import pytest

from tests.pytest_plugin.conftest import Run

pytest_plugins = ["pytester"]


def test_an_async_test_gets_a_client_on_an_emulator_of_its_own(run: Run) -> None:
    done = run(
        """
        async def test_one(fal, fal_emulator):
            await fal.run("fal-ai/fast-sdxl", {"prompt": "a cat"})
            assert fal_emulator.ledger.billed("fal-ai/fast-sdxl") == 1

        async def test_two(fal, fal_emulator):
            assert len(fal_emulator.ledger) == 0
            assert fal.hosts == fal_emulator.hosts
        """
    )
    done.assert_outcomes(passed=2)


@pytest.mark.parametrize("scope", ["function", "class", "module", "package", "session"])
def test_the_client_lives_on_the_loop_of_its_test(run: Run, scope: str) -> None:
    done = run(
        f"""
        import pytest

        class TestAll:
            @pytest.mark.asyncio(loop_scope="{scope}")
            async def test_marked(self, fal):
                assert await fal.run("emulator/echo", {{"a": 1}}) == {{"a": 1}}
        """,
        mode="strict",
    )
    done.assert_outcomes(passed=1)


def test_the_loop_of_all_tests_may_be_told_in_the_configuration(run: Run) -> None:
    done = run(
        """
        async def test_configured(fal):
            assert await fal.run("emulator/echo", {"a": 1}) == {"a": 1}
        """,
        "-o",
        "asyncio_default_test_loop_scope=module",
    )
    done.assert_outcomes(passed=1)


def test_anyios_plugin_runs_them_as_well_on_asyncio(run: Run) -> None:
    done = run(
        """
        import pytest

        @pytest.fixture(params=["asyncio", "trio"])
        def anyio_backend(request):
            return request.param

        @pytest.mark.anyio
        async def test_any(fal, fal_emulator):
            await fal.run("emulator/echo", {})
            assert fal_emulator.ledger.billed() == 1
        """,
        mode="strict",
    )
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["*the fixture fal runs on asyncio, not on trio*"])


def test_where_two_plugins_want_to_run_a_test_a_sentence_says_what_to_do(run: Run) -> None:
    done = run(
        """
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.anyio
        async def test_any(fal):
            pass
        """,
        mode="auto",
    )
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*: set asyncio_mode = strict, or take its anyio marker away*"])


def test_other_fixtures_may_use_the_client_until_they_end(run: Run) -> None:
    done = run(
        """
        import pytest_asyncio

        @pytest_asyncio.fixture
        async def drawn(fal):
            yield await fal.run("fal-ai/fast-sdxl", {"prompt": "a cat"})
            await fal.run("emulator/echo", {})

        async def test_it(drawn):
            assert drawn["images"]
        """
    )
    done.assert_outcomes(passed=1)


def test_a_plain_test_is_told_what_to_use_instead_of_the_client(run: Run) -> None:
    done = run("def test_it(fal): pass")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*in others use fal_emulator, which AsyncFal() finds by itself*"])


def test_code_that_makes_its_own_client_finds_the_emulator(run: Run) -> None:
    done = run(
        """
        import asyncio, os
        from fal_async import AsyncFal

        async def draw():
            async with AsyncFal() as fal:
                return await fal.run("fal-ai/fast-sdxl", {"prompt": "a cat"})

        def test_plain(fal_emulator):
            assert asyncio.run(draw())["images"]
            [run] = fal_emulator.ledger
            assert run.key_id == "test-key-id"

        def test_the_environment_is_as_it_was():
            assert not [name for name in os.environ if name.startswith("FAL_")]
        """
    )
    done.assert_outcomes(passed=2)


def test_the_emulator_of_the_session_is_as_new_for_each_test(run: Run) -> None:
    done = run(
        """
        import os
        import pytest

        urls = set()

        @pytest.fixture(scope="session")
        def service(fal_emulator_session):
            return fal_emulator_session.url

        async def test_one(fal, fal_emulator_session):
            urls.add(fal_emulator_session.url)
            fal_emulator_session.faults.add("stall", model="other/model")
            await fal.run("emulator/echo", {})
            assert len(fal_emulator_session.ledger) == 1

        def test_that_does_not_use_it_does_not_see_it():
            assert "FAL_EMULATOR_URL" not in os.environ

        @pytest.mark.fal(limit=3, keys={"me:secret"})
        async def test_two(fal, fal_emulator_session):
            urls.add(fal_emulator_session.url)
            assert len(fal_emulator_session.ledger) == len(fal_emulator_session.faults) == 0
            assert fal_emulator_session.limit == 3
            await fal.run("emulator/echo", {})
            assert [run.key_id for run in fal_emulator_session.ledger] == ["me"]

        def test_three(service):
            assert urls == {service} == {os.environ["FAL_EMULATOR_URL"]}

        @pytest.mark.fal(locked={"a:b": "why"}, faults=["rest"])
        def test_wrong(service):
            pass
        """
    )
    done.assert_outcomes(passed=4, errors=1)
    done.stdout.fnmatch_lines(["*@pytest.mark.fal: faults: 'rest' is no kind of fault*"])


def test_a_failure_shows_what_ran(run: Run) -> None:
    done = run(
        """
        import pytest
        from fal_async.emulator import Fault

        @pytest.mark.fal(faults=[Fault("too_many_requests", nth=5)], limit=0)
        async def test_it(fal, fal_emulator):
            fal_emulator.limit = None
            await fal.run("fal-ai/fast-sdxl", {"prompt": "a cat"})
            assert fal_emulator.ledger.billed() == 2
        """
    )
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "*assert 1 == 2*",
            "*where billed = <Ledger: 1 executions, 1 billed, 1 units>.billed*",
            "*fal emulator*",
            "<Ledger: 1 executions, 1 billed, 1 units>",
            "  ????????-* fal-ai/fast-sdxl by test-key-id: 200, billed 1, *",
            "requests: run 1",
            "fault 'too_many_requests', nth=(5,): met 0 times",
        ]
    )


def test_samples_beside_the_test_are_replayed_and_a_miss_fails_it(
    run: Run, pytester: pytest.Pytester
) -> None:
    sample = {"model": "you/shout", "input": {"text": "a"}, "output": {"text": "A"}}
    pytester.mkdir("samples").joinpath("a.json").write_text(json.dumps(sample))
    done = run(
        """
        import contextlib
        from fal_async import FalError

        async def test_there_is_one(fal, fal_emulator):
            fal_emulator.replay("samples/")
            assert await fal.run("you/shout", {"text": "a"}) == {"text": "A"}

        async def test_there_is_none(fal, fal_emulator):
            fal_emulator.replay("samples")
            with contextlib.suppress(FalError):
                await fal.run("you/shout", {"text": "b"})
        """
    )
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(
        ['there is no sample for this call of you/shout (*differs in text): {"text": "b"}']
    )


def test_a_client_that_is_made_on_import_is_replaced_by_the_one_of_the_test(
    run: Run, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        my_app="""
        from fal_async import AsyncFal

        fal = AsyncFal("id:secret")

        async def draw(prompt):
            return await fal.run("emulator/echo", {"prompt": prompt})
        """
    )
    done = run(
        """
        import my_app

        async def test_replaced(fal, monkeypatch):
            monkeypatch.setattr(my_app, "fal", fal)
            assert await my_app.draw("a cat") == {"prompt": "a cat"}

        async def test_as_it_is(fal_emulator):
            await my_app.draw("a cat")
        """
    )
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["*finds that is made within the test, not before; or allow it*"])

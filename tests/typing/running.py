"""What the type checkers infer of a call, and what they refuse of it. Checked, never run."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypedDict, assert_type

import attrs

from fal_async import (
    AclRule,
    AsyncFal,
    Billing,
    ErrorDetail,
    Failed,
    FalError,
    File,
    Hosts,
    Image,
    ImageOutput,
    InitialAcl,
    LifecyclePreference,
    Outcomes,
    Resend,
    RetryPolicy,
    RunResult,
    StructureError,
    Succeeded,
    TooManyRequestsError,
    default_converter,
)


@attrs.define
class MyInput:
    prompt: str
    seed: int | None = None


@attrs.frozen
class MyOutput:
    images: list[Image]


@dataclasses.dataclass
class Data:
    text: str


class Typed(TypedDict):
    text: str


async def the_output_of_a_call(fal: AsyncFal) -> None:
    assert_type(await fal.run("fal-ai/fast-sdxl", {"prompt": "a cat"}), Any)
    assert_type(await fal.run("fal-ai/fast-sdxl", MyInput("a cat")), Any)
    assert_type(await fal.run("fal-ai/fast-sdxl", {}, result_type=None), Any)
    assert_type(await fal.run("fal-ai/fast-sdxl", {}, result_type=MyOutput), MyOutput)
    assert_type(await fal.run("fal-ai/fast-sdxl", {}, result_type=ImageOutput), ImageOutput)
    assert_type(await fal.run("fal-ai/fast-sdxl", {}, result_type=Data), Data)
    assert_type(await fal.run("fal-ai/fast-sdxl", {}, result_type=Typed), Typed)
    assert_type(await fal.run("fal-ai/fast-sdxl", {}, result_type=bytes), bytes)
    assert_type(await fal.run("fal-ai/fast-sdxl", {}, result_type=str), str)
    assert_type(await fal.run("fal-ai/fast-sdxl", {}, result_type=list[Image]), list[Image])
    assert_type(
        await fal.run("fal-ai/fast-sdxl", {}, result_type=dict[str, list[int]]),
        dict[str, list[int]],
    )
    output = await fal.run("fal-ai/fast-sdxl", {}, result_type=ImageOutput)
    assert_type(output.images[0].url, str)
    assert_type(output.images[0].width, int | None)
    assert_type(output.timings, dict[str, float | None] | None)


async def a_call_in_detail(fal: AsyncFal) -> None:
    assert_type(await fal.run_detailed("fal-ai/fast-sdxl", {}), RunResult[Any])
    result = await fal.run_detailed("fal-ai/fast-sdxl", {}, result_type=MyOutput)
    assert_type(result, RunResult[MyOutput])
    assert_type(result.output, MyOutput)
    assert_type(result.request_id, str | None)
    assert_type(result.billable_units, Decimal | None)
    assert_type(result.headers, Mapping[str, str])
    assert_type(result.elapsed, float)
    assert_type(result.attempts, int)
    broader: RunResult[object] = result  # what holds a MyOutput holds an object


async def all_options(fal: AsyncFal) -> None:
    await fal.run(
        "fal-ai/fast-sdxl",
        {"prompt": "a cat"},
        expire=3600,
        start_timeout=30,
        timeout=60.5,
        result_type=ImageOutput,
        hint="session-5",
        store_io=False,
        disable_fallback=True,
        tags={"team": "a"},
        headers={"X-Mine": "1"},
        key="id:secret",
        retry=RetryPolicy.never(),
    )
    await fal.run_detailed("fal-ai/fast-sdxl", {}, timeout=None, expire="7d", retry=RetryPolicy())
    await fal.run("fal-ai/fast-sdxl", {}, expire=datetime.timedelta(hours=1))
    acl = InitialAcl("forbid", (AclRule("ann", "allow"),))
    await fal.run("fal-ai/fast-sdxl", {}, expire=LifecyclePreference("1h", initial_acl=acl))


async def what_is_refused(fal: AsyncFal) -> None:
    await fal.run(5, {})  # type: ignore[call-overload]
    await fal.run("fal-ai/fast-sdxl")  # type: ignore[call-overload]
    await fal.run("fal-ai/fast-sdxl", {}, expire="2h")  # type: ignore[call-overload]
    await fal.run("fal-ai/fast-sdxl", {}, start_timeout="30")  # type: ignore[call-overload]
    await fal.run("fal-ai/fast-sdxl", {}, result_type=MyOutput([]))  # type: ignore[call-overload]
    await fal.run("fal-ai/fast-sdxl", {}, tags=["a"])  # type: ignore[call-overload]
    await fal.run("fal-ai/fast-sdxl", {}, priority="low")  # type: ignore[call-overload]
    await fal.run_detailed("fal-ai/fast-sdxl", {}, timeout="30")  # type: ignore[call-overload]
    wrong: str = await fal.run("a/b", {}, result_type=MyOutput)  # type: ignore[arg-type]


def a_key() -> str:
    return "id:secret"


async def a_key_of_somewhere_else() -> str:
    return "id:secret"


async def sessions() -> None:
    async with AsyncFal() as fal:
        assert_type(fal, AsyncFal)
        assert_type(fal.hosts, Hosts)
    AsyncFal("id:secret", hosts=Hosts.local("http://127.0.0.1:8000"), limit=10, timeout=60)
    AsyncFal(a_key, limit="auto", converter=default_converter(), proxies=None)
    AsyncFal(
        a_key_of_somewhere_else, limit=None, retry=RetryPolicy(resend=frozenset([Resend.LOST]))
    )
    AsyncFal(5)  # type: ignore[arg-type]
    AsyncFal(limit="none")  # type: ignore[arg-type]


def errors(error: FalError, refused: TooManyRequestsError, misfit: StructureError) -> None:
    assert_type(error.billing, Billing)
    assert_type(error.retryable, bool)
    assert_type(error.status, int | None)
    assert_type(error.details, tuple[ErrorDetail, ...])
    assert_type(error.retry_after, float | None)
    assert_type(error.headers, Mapping[str, str])
    assert_type(error.body, bytes | None)
    assert_type(error.advice, str)
    assert_type(refused.limit, int | None)
    assert_type(misfit.path, str)
    assert_type(misfit.value, Any)


def files(file: File, image: Image) -> None:
    assert_type(str(file), str)
    wider: File = image


async def the_outcomes_of_a_map(fal: AsyncFal) -> None:
    async with fal.map("fal-ai/fast-sdxl", [{"prompt": "a cat"}]) as plain:
        assert_type(plain, Outcomes[Any])
    async with fal.map("fal-ai/fast-sdxl", [MyInput("a cat")], result_type=MyOutput) as outcomes:
        async for outcome in outcomes:
            assert_type(outcome, Succeeded[MyOutput] | Failed)
            match outcome:
                case Succeeded(output=output):
                    assert_type(output, MyOutput)
                case Failed(error=error):
                    assert_type(error, FalError)
    collected = await fal.map("fal-ai/fast-sdxl", [], result_type=Data, durable=True).collect()
    assert_type(collected, list[Succeeded[Data] | Failed])
    fal.map("fal-ai/fast-sdxl", [{}], in_doubt="guess")  # type: ignore[call-overload]
    fal.map("fal-ai/fast-sdxl", [{}], nonsense=1)  # type: ignore[call-overload]

"""What must be so of a batch that was killed and resumed until it ended by itself. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs

from tests.support.killing.inputs import Input, name_of

__all__ = ["Doubt", "Evidence", "InDoubt", "Said", "Verdict", "judge"]

InDoubt = Literal["report", "retry", "reconcile"]
Doubt = tuple[int, float]
"""An intent that was left in doubt: its place in the batch, and when it was written."""


@attrs.frozen(kw_only=True)
class Said:
    """What one run said, and how it ended.

    :ivar outcomes: as they were handed out; see ``program.told``.
    :ivar whole: whether it came to the end of its batch, and said so.
    :ivar left: whether it was told to leave before.
    :ivar status: its exit status; negative is a signal's number.
    :ivar doubts: what its journal reported as in doubt before it began.
    """

    outcomes: Sequence[Mapping[str, Any]]
    whole: bool
    left: bool
    killed: bool
    status: int
    doubts: frozenset[Doubt]


@attrs.frozen(kw_only=True)
class Evidence:
    """All that is known of a batch.

    :ivar cancels: whether a run that is left cancels its queued requests.
    :ivar ran: request id → the name of its input, of every call that a model saw.
    :ivar billed: the request id of every execution that was charged for.
    :ivar retried: how many intents that were left in doubt were followed by another.
    """

    in_doubt: InDoubt
    cancels: bool
    inputs: Sequence[Input]
    runs: Sequence[Said]
    ran: Mapping[str, str]
    billed: Sequence[str]
    retried: int


@attrs.frozen(kw_only=True)
class Verdict:
    """What became of a batch.

    :ivar in_doubt: intents that were ever left in doubt.
    :ivar explained: executions beyond one for each input, of calls that were reported as in doubt and made
        again because the caller had said so.
    :ivar unexplained: all others beyond one for each input.
    :ivar cancelled: inputs whose request was removed from the queue by a run that was left, and killed before
        it had noted that. No later run can know that it did not run: it is told as cancelled, by all of them.
    :ivar lost: results that were handed out and are not any more, or are others now.
    :ivar wrong: what must not be so, in words; empty if all is well.
    """

    kills: int
    inputs: int
    in_doubt: int
    retried: int
    explained: int
    unexplained: int
    cancelled: int
    lost: int
    wrong: tuple[str, ...]


def judge(evidence: Evidence) -> Verdict:
    """What became of a batch, and whether that is as it must be."""
    doubts = {doubt for run in evidence.runs for doubt in run.doubts}
    explained, unexplained = _billed_twice(evidence, doubts)
    lost = list(_lost(evidence))
    wrong = [
        *_ends(evidence),
        *_results(evidence),
        *(f"billed {count} times too often: {name}" for name, count in unexplained.items()),
        *lost,
    ]
    if evidence.in_doubt == "report" and evidence.retried:
        wrong.append(f"{evidence.retried} in doubt were called again, and nobody had said so")
    return Verdict(
        kills=sum(run.killed for run in evidence.runs),
        inputs=len(evidence.inputs),
        in_doubt=len(doubts),
        retried=evidence.retried,
        explained=explained,
        unexplained=unexplained.total(),
        cancelled=sum(_was_cancelled(evidence, outcome) for outcome in evidence.runs[-1].outcomes),
        lost=len(lost),
        wrong=tuple(wrong),
    )


def _ends(evidence: Evidence) -> Iterator[str]:
    """Runs end because they are killed, or well."""
    for number, run in enumerate(evidence.runs):
        if run.status and not run.killed:
            yield f"run {number} ended with status {run.status}"
    last = evidence.runs[-1]
    if not last.whole:
        yield "the last run did not come to its end"


def _results(evidence: Evidence) -> Iterator[str]:
    """Each input has one outcome in the end, the one that is its due."""
    last = evidence.runs[-1]
    times = Counter(outcome["index"] for outcome in last.outcomes)
    for index in range(len(evidence.inputs)):
        if times.pop(index, 0) != 1:
            yield f"input {index} has not exactly one outcome"
    if times:
        yield f"outcomes of inputs that there are not: {sorted(times)}"
    doubted = 0
    for outcome in last.outcomes:
        index = outcome["index"]
        content = evidence.inputs[index]
        if outcome.get("error") == "InDoubtError" and evidence.in_doubt == "report":
            doubted += 1
            continue
        if _was_cancelled(evidence, outcome):
            continue
        if not _is_due(content, outcome, evidence.in_doubt):
            yield f"input {index} ended with {outcome}"
        elif evidence.ran.get(outcome["request_id"]) != name_of(content):
            yield f"input {index} has the result of another"
    if evidence.in_doubt == "report" and doubted != len(last.doubts):
        yield f"{doubted} outcomes in doubt, and {len(last.doubts)} in the journal"
    ids = Counter(_results_of(last).values())
    yield from (f"two inputs have the result {found}" for found in ids if ids[found] > 1)


def _is_due(content: Input, outcome: Mapping[str, Any], in_doubt: InDoubt) -> bool:
    """Whether it ended like its input, and says what that has cost."""
    error, billing = outcome.get("error"), outcome["billing"]
    if "refused" not in content:
        return (error, billing) == (None, "billed")
    costs = {"billed": "billed", "free": "not_billed"}[content["refused"]]
    # Of a refusal that is found in the history, it is not known what it cost: that stands in a header.
    told = {costs, "unknown"} if in_doubt == "reconcile" else {costs}
    return error == "ModelError" and billing in told


def _was_cancelled(evidence: Evidence, outcome: Mapping[str, Any]) -> bool:
    """Whether a run that was killed while it was left had cancelled it before it ran."""
    return (
        outcome.get("error") == "RequestCancelledError"
        and evidence.cancels
        and any(run.left and run.killed for run in evidence.runs)
        and outcome["request_id"] not in evidence.ran
    )


def _results_of(run: Said) -> dict[int, tuple[str, ...]]:
    """What was handed out and is not to be called for again, by index."""
    return {
        outcome["index"]: (outcome["request_id"], outcome.get("output") or outcome["error"])
        for outcome in run.outcomes
        if outcome["billing"] != "not_billed" and outcome.get("error") != "InDoubtError"
    }


def _lost(evidence: Evidence) -> Iterator[str]:
    """Every result that was ever handed out is handed out in the end, to an input like its own.

    Which of several equal inputs has which result is not promised.
    """
    kept: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
    for index, result in _results_of(evidence.runs[-1]).items():
        kept[name_of(evidence.inputs[index])].add(result)
    promised = {
        (name_of(evidence.inputs[index]), result)
        for run in evidence.runs[:-1]
        for index, result in _results_of(run).items()
    }
    for name, result in sorted(promised):
        if result not in kept[name]:
            yield f"lost: {result} of {name}"


def _billed_twice(evidence: Evidence, doubts: Collection[Doubt]) -> tuple[int, Counter[str]]:
    """Executions beyond one for each input: how many are explained, and those that nothing explains."""
    due = Counter(map(name_of, evidence.inputs))
    billed = Counter(evidence.ran[request_id] for request_id in evidence.billed)
    allowed: Counter[str] = Counter()
    if evidence.in_doubt == "retry":
        allowed.update(name_of(evidence.inputs[index]) for index, _ in doubts)
    too_many = billed - due
    unexplained = too_many - allowed
    return too_many.total() - unexplained.total(), unexplained

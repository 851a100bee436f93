"""Whatever is done with a journal, over many runs, it does what a list of rows would do."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from fal_async.batch.journal.journal import Journal
from fal_async.batch.journal.records import InDoubt, Record, State, Ticket
from tests.batch.journaling import answer, key, opened

NAMES = st.sampled_from("abc")
PICK = st.integers(0, 9)
ACTIONS = st.one_of(
    st.tuples(st.just("claim"), NAMES),
    st.tuples(st.just("claim"), NAMES),
    st.tuples(st.just("claim together"), st.lists(NAMES, min_size=1, max_size=6)),
    st.tuples(st.just("look up"), st.lists(NAMES, max_size=5)),
    st.tuples(st.just("queued"), PICK),
    st.tuples(st.just("succeeded"), PICK),
    st.tuples(st.just("failed"), PICK),
    st.tuples(st.just("intend"), PICK),
    st.tuples(st.just("withdraw"), PICK),
)


@attrs.define
class Row:
    name: str
    index: int
    at: float
    run: int
    state: State = State.INTENDED
    body: bytes = b""
    doubts: int = 0
    is_new: bool = True
    before: tuple[State, float, int] | None = None
    ticket: Ticket | None = None

    def matches(self, record: Record) -> bool:
        answered = self.state in {State.SUCCEEDED, State.FAILED}
        return (
            record.ticket == self.ticket
            and record.state is self.state
            and record.index == self.index
            and record.intended_at == self.at
            and record.in_doubt_times == self.doubts + (self.state is State.INTENDED)
            and (record.answer.body if record.answer else None) == (self.body if answered else None)
            and (record.handle is not None) == (self.state is State.QUEUED)
        )


class Model:
    """The rows of a journal as plain values, beside the journal."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.run = 0
        self.count = 0

    def unclaimed(self) -> list[Row]:
        return [row for row in self.rows if row.run != self.run]

    def claim(self, name: str) -> Row | None:
        found = next((row for row in self.unclaimed() if row.name == name), None)
        if found is not None:
            found.run, found.is_new, found.before = self.run, False, None
        return found

    async def run_through(self, journal: Journal, actions: list[tuple[str, object]]) -> None:
        self.run += 1
        states = [row.state for row in self.rows]
        assert journal.counts == {state: states.count(state) for state in State}
        for action, value in actions:
            if isinstance(value, int):
                mine = [row for row in self.rows if row.run == self.run]
                if mine:
                    await self.step(journal, action, mine[value % len(mine)])
            elif action == "look up":
                names = list(value)  # type: ignore[call-overload]
                records = await journal.claim_many([key(name) for name in names])
                for name, record in zip(names, records, strict=True):
                    self.check(self.claim(name), record)
            else:
                await self.claim_all(journal, list(value))  # type: ignore[call-overload]
            assert journal.remaining == len(self.unclaimed())
        doubts = [row for row in self.unclaimed() if row.state is State.INTENDED]
        doubts.sort(key=lambda row: row.index)
        expected = [
            InDoubt(key=key(row.name), index=row.index, intended_at=row.at, times=row.doubts + 1)
            for row in doubts
        ]
        assert await journal.in_doubt() == expected

    async def claim_all(self, journal: Journal, names: list[str]) -> None:
        first = self.count
        self.count += len(names)
        claims = [journal.claim(key(name), first + i) for i, name in enumerate(names)]
        for i, (ticket, record) in enumerate(await asyncio.gather(*claims)):
            row = self.claim(names[i])
            self.check(row, record)
            if row is None:
                new = Row(names[i], first + i, float(self.run), self.run, ticket=ticket)
                self.rows.append(new)

    def check(self, row: Row | None, record: Record | None) -> None:
        if row is None or record is None:
            assert row is record is None
        else:
            assert row.matches(record), (row, record)

    async def step(self, journal: Journal, action: str, row: Row) -> None:
        assert row.ticket is not None
        self.count += 1
        if action == "queued":
            await journal.queued(row.ticket, {"request_id": "r"})
            row.state = State.QUEUED
        elif action in {"succeeded", "failed"}:
            row.body = b"%d" % self.count
            row.state = State.SUCCEEDED if action == "succeeded" else State.FAILED
            await journal.ended(row.ticket, answer(row.body, succeeded=action == "succeeded"))
        elif action == "intend":
            await journal.intend(row.ticket, self.count)
            row.before = row.state, row.at, row.doubts
            row.is_new = False
            row.doubts += row.state is State.INTENDED
            row.state, row.at, row.index = State.INTENDED, float(self.run), self.count
        else:
            journal.withdraw(row.ticket)
            await journal.in_doubt()  # nobody waits for a withdrawal, but for this one can
            if row.state not in {State.INTENDED, State.QUEUED}:
                return
            if row.is_new:
                self.rows.remove(row)
            elif row.before is not None:
                (row.state, row.at, row.doubts), row.before = row.before, None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(ACTIONS, max_size=15), min_size=2, max_size=4))
def test_a_journal_does_what_a_list_of_rows_would_do(
    runs: list[list[tuple[str, object]]],
) -> None:
    async def live(path: Path) -> None:
        model = Model()
        for actions in runs:
            async with opened(path, now=float(model.run + 1)) as journal:
                await model.run_through(journal, actions)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live(Path(folder) / "run.sqlite"))

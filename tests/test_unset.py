"""The mark of an argument that was not given."""

from __future__ import annotations

import copy
import pickle

from fal_async.unset import UNSET, Unset


def test_there_is_one_such_mark_whatever_becomes_of_it() -> None:
    assert list(Unset) == [UNSET]
    assert copy.deepcopy(UNSET) is pickle.loads(pickle.dumps(UNSET)) is UNSET
    assert repr(UNSET) == "UNSET"

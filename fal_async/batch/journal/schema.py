"""The file of a journal: what its tables hold, and every statement that is run on them.

Each statement serves a whole group. Its columns come as a few large values (JSON arrays, and blobs that
are cut by position), so that SQLite works through the group in one step, and the thread that waits for
it gives up the interpreter's lock once for the group, not once for each row.

``item`` is written at its end only, and twice for each call: rows are small, and those of the calls in
flight lie together. ``known`` finds the items of earlier runs by their key; it is filled on opening, since
a key is never looked up in the run that wrote it, and an index kept up to date would touch a page of its
own for each item. Answers are in a table of their own, so that the items of a large journal are counted fast.
"""

from __future__ import annotations

from typing import Final

__all__ = ["APPLICATION_ID", "FORMAT", "KEY_BYTES"]

APPLICATION_ID: Final = 0x66616C6A  # "falj"
FORMAT: Final = 1
KEY_BYTES: Final = 16  # so they are cut out below

TABLES: Final = f"""
BEGIN IMMEDIATE;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
CREATE TABLE journal (
    model TEXT NOT NULL,
    format INTEGER NOT NULL,
    created REAL NOT NULL,         -- Unix seconds
    runs INTEGER NOT NULL,         -- how often it was opened
    known_to INTEGER NOT NULL      -- the last item that is in `known`
);
CREATE TABLE item (
    id INTEGER PRIMARY KEY,        -- in the order of the intents: so are the occurrences of a key
    key BLOB NOT NULL,
    place INTEGER NOT NULL,        -- its index in the run that intended it last
    state INTEGER NOT NULL,        -- 0 intended, 1 queued, 2 succeeded, 3 failed
    run INTEGER NOT NULL,          -- the last run that claimed or wrote it
    intended_at REAL NOT NULL,     -- Unix seconds
    doubts INTEGER NOT NULL,       -- intents before the last one that were left in doubt
    was INTEGER,                   -- the state before the last intent, to withdraw it: NULL if there was
                                   -- none, -1 if there is nothing to withdraw
    was_at REAL,                   -- when it was intended before
    left_by REAL                   -- when its intent was first found in doubt, in Unix seconds
);
CREATE TABLE known (
    key BLOB NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (key, id)
) WITHOUT ROWID;
CREATE TABLE request (id INTEGER PRIMARY KEY, handle TEXT NOT NULL);
CREATE TABLE answer (id INTEGER PRIMARY KEY, facts TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE saved (id INTEGER PRIMARY KEY, files TEXT NOT NULL);
-- of calls that were made again, or taken back: what stood of them above is written over
CREATE TABLE earlier (request_id TEXT PRIMARY KEY) WITHOUT ROWID;
"""

FOUND: Final = """
SELECT model, runs, known_to FROM journal
"""

INTRODUCE: Final = """
INSERT INTO journal (model, format, created, runs, known_to) VALUES (?, ?, ?, 1, 0)
"""

#: Sorted, so that `known` is written from one end to the other.
LEARN: Final = """
INSERT INTO known (key, id) SELECT key, id FROM item WHERE id > ? ORDER BY key, id
"""

REOPEN: Final = """
UPDATE journal SET runs = runs + 1, known_to = (SELECT coalesce(max(id), 0) FROM item)
"""

#: now
FIND_DOUBTS: Final = "UPDATE item SET left_by = ? WHERE state = 0 AND left_by IS NULL"

COUNT: Final = "SELECT state, count(*) FROM item GROUP BY state"

LAST: Final = "SELECT coalesce(max(id), 0) FROM item"

#: after: the last one claimed of each key
LOOK_UP: Final = """
SELECT wanted.n, item.id, item.state, item.place, item.intended_at, item.doubts, item.left_by,
       request.handle, answer.facts, answer.body, saved.files
FROM (
    SELECT key AS n, (
        SELECT known.id FROM known CROSS JOIN item ON item.id = known.id
        WHERE known.key = substr(:keys, json_each.key * 16 + 1, 16)
          AND known.id > json_each.value AND item.run <> :run
        ORDER BY known.id LIMIT 1
    ) AS id
    FROM json_each(:after)
) AS wanted
CROSS JOIN item ON item.id = wanted.id
LEFT JOIN request ON request.id = item.id AND item.state = 1
LEFT JOIN answer ON answer.id = item.id AND item.state IN (2, 3)
LEFT JOIN saved ON saved.id = item.id AND item.state IN (2, 3)
"""

#: run, [id]
CLAIM: Final = "UPDATE item SET run = ?, was = -1 WHERE id IN (SELECT value FROM json_each(?))"

BEGIN_ITEMS: Final = """
INSERT INTO item (id, key, place, state, run, intended_at, doubts)
SELECT :first + key, substr(:keys, key * 16 + 1, 16), value, 0, :run, :at, 0
FROM json_each(:places)
"""

#: told: [[id, place]]
INTEND: Final = """
UPDATE item SET was = state, was_at = intended_at, doubts = doubts + (state = 0), state = 0,
                intended_at = :at, left_by = NULL, place = told.place
FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS place
      FROM json_each(:told)) AS told
WHERE item.id = told.id
"""

#: [[id, handle]]
KEEP_HANDLES: Final = """
INSERT OR REPLACE INTO request (id, handle)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)
"""

#: texts: facts and bodies; cuts: [[id, where it starts, length of the facts, length of the body]]
KEEP_ANSWERS: Final = """
INSERT OR REPLACE INTO answer (id, facts, body)
SELECT json_extract(value, '$[0]'),
       CAST(substr(:texts, json_extract(value, '$[1]'), json_extract(value, '$[2]')) AS TEXT),
       substr(:texts, json_extract(value, '$[1]') + json_extract(value, '$[2]'),
              json_extract(value, '$[3]'))
FROM json_each(:cuts)
"""

KEEP_ANSWER: Final = """
INSERT OR REPLACE INTO answer (id, facts, body) VALUES (?, CAST(? AS TEXT), ?)
"""

#: state, [id]
REACH: Final = "UPDATE item SET state = ? WHERE id IN (SELECT value FROM json_each(?))"

#: [[id, files]]
KEEP_FILES: Final = """
INSERT OR REPLACE INTO saved (id, files)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)
"""

#: [id]
FORGET: Final = """
DELETE FROM item WHERE was IS NULL AND state IN (0, 1) AND id IN (SELECT value FROM json_each(?))
"""

#: [id]
STEP_BACK: Final = """
UPDATE item SET state = was, intended_at = was_at, doubts = doubts - (was = 0), was = -1
WHERE was >= 0 AND state IN (0, 1) AND id IN (SELECT value FROM json_each(?))
"""

#: run
IN_DOUBT: Final = """
SELECT key, place, intended_at, doubts + 1 FROM item WHERE state = 0 AND run <> ? ORDER BY place, id
"""

_HANDLED: Final = """
SELECT CASE WHEN json_valid(handle) THEN json_extract(handle, '$.request_id') END,
       CASE WHEN json_valid(handle) THEN '{}' ELSE handle END
FROM request"""
_ANSWERED: Final = """
SELECT CASE WHEN json_valid(facts) THEN json_extract(facts, '$.request_id') END,
       CASE WHEN json_valid(facts) THEN '{}' ELSE facts END
FROM answer"""
_EARLIER: Final = "SELECT request_id, '{}' FROM earlier"
_OF_THESE: Final = "WHERE id IN (SELECT value FROM json_each(:ids))"

#: What SQLite cannot read as JSON is given as it is
REQUEST_IDS: Final = f"""{_HANDLED}
UNION ALL {_ANSWERED}
UNION ALL {_EARLIER}
"""

REQUEST_IDS_OF: Final = f"""{_HANDLED} {_OF_THESE}
UNION ALL {_ANSWERED} {_OF_THESE}
"""

#: [request id]
REMEMBER: Final = """
INSERT OR IGNORE INTO earlier (request_id) SELECT value FROM json_each(?)
"""

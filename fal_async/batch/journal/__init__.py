"""What a batch remembers on disk: an intent before each request, an answer before it is handed out.

It holds no inputs: a call is known by a digest of its model, input and options, and by what was answered.

::

    journal     the asyncio face: one future per waiter, one hand-over per turn of the event loop
      writer    the one thread that touches the file: everything that waits, in one transaction
        store   the statements, each for a whole group
          opening, schema    the file: checked, made, refused
    records, facts, freezing     the values, and how they are written down
    trouble     what SQLite says, in words that tell what to do
"""

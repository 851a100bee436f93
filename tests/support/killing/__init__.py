"""Batches that are killed while they run and started again, and what must be so of them in the end.

::

    batches     one batch after the other: killed, resumed, judged
      sitting   an emulator, a journal, and the runs of one batch over them
        nursery   the process that runs are forked from, as its parent sees it
          program   what runs in it: imports fal_async, and nothing else
      plans     when a run is killed: chance
      judging   what must be so, and what is wrong: pure
      inputs    what is asked for, and what the model makes of it: pure
"""

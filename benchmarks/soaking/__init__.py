"""The parts of ``benchmarks.soak``: a load, an emulator that misbehaves, and who compares what both say."""

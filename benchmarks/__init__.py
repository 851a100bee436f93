"""Measurements: ``python -m benchmarks`` runs them all; each module runs alone, too.

They need the development dependencies (``pip install -e '.[dev]'``) and a machine with two idle cores.
"""

"""The peer Morango, measured in an environment of its own: it needs an older Django.

Nothing here is imported by synchro or by the rest of the benchmarks: ``benchmarks.peers`` runs
``measure.py`` with the Python of that environment.
"""

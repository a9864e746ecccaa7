"""Measures synchro against what it stands on: ``make bench``."""

"""Capture by the database itself: triggers write the change log, so that no write is missed.

``spec`` says what is captured, one module a vendor renders it as SQL, ``presence`` knows what a
database has, ``install`` puts it there, ``silence`` suspends it, ``tombstones`` reads the keys
that triggers have stored.
"""

"""The independent checker: its own parsers, readers and candles, and nothing of the pipeline.

Import-linter enforces this (pyproject.toml): reconcile imports no code that writes a store and no
reader that other packages use, and no other package uses its readers.
"""

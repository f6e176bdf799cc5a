"""Runnable examples. Each is started with `python -m examples.NAME`."""

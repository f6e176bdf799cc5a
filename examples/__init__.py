"""Runnable examples. Each is one file that can be copied, and imports no other."""

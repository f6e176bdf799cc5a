"""Measure CPU time relative to a minimal implementation (the floor) and to peers, in interleaved pairs."""

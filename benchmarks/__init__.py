"""CPU time, ours against the floor and against a peer, as ratios of interleaved pairs in one run."""

"""Code that type checkers read and nothing runs: how users write it."""

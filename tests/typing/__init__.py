"""User code that is type-checked and never run."""

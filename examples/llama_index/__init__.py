"""Runnable examples for LlamaIndex."""

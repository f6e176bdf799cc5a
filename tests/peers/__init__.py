"""Measure what chat classes of several packages do with the same answers of a simulated service.

Each row is a question with the answer yes or no. Each class is set up in the way that its own documentation names.
"""

"""Shared core of both adapters: the Model Studio protocols, without framework imports."""

__version__ = "0.1.0"

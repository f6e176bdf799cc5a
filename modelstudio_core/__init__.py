"""The core that both adapters share: it speaks Model Studio's protocols and imports no framework."""

__version__ = "0.1.0"

"""Encode requests and decode responses of Model Studio's protocols and APIs, without I/O."""

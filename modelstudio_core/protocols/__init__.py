"""Pure codecs for the two wire protocols of Model Studio, one module each."""

"""Snippets of the documentation that need other packages, with a stand-in for the service: `make test-snippets`."""

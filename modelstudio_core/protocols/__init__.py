"""The two protocols of the service, a pure codec each. A new one is one more file beside `openai`."""

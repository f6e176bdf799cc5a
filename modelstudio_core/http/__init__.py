"""Network I/O of the core, files that are sent, retries, timeouts and the clock. Nothing else imports httpx."""

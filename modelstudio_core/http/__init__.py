"""All I/O of the core: connections, retries, timeouts and the clock. Nothing else imports httpx."""

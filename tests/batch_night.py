"""Run batch jobs in forked processes and kill them: `python -m tests.batch_night URL`.

For each line `JOURNAL SECONDS` on standard input, a fork starts or resumes the job of the journal. It is killed
(SIGKILL) after that time. One line of output has a digest of the results, or "killed".
"""

from __future__ import annotations

import hashlib
import os
import select
import signal
import sys

from langchain_modelstudio import ChatModelStudio

PROMPTS = 240
FILES = 3


def run(url: str, journal: str) -> str:
    """Run the job to completion, and return a digest of its results."""
    llm = ChatModelStudio(model="qwen-turbo", api_key="sk-night-key", base_url=url)
    prompts = (f"prompt {number}" for number in range(PROMPTS))
    job = llm.batch_job(prompts, journal=journal, lines_per_file=PROMPTS // FILES)
    job.submit()
    job.wait(poll_interval=0.01)
    found = hashlib.sha256()
    for result in job.results():
        found.update(repr(result).encode())
    return f"{job.status.completed} {job.status.failed} {found.hexdigest()}"


def run_and_kill(url: str, journal: str, seconds: float) -> str:
    """Run the job in a fork, and kill it after `seconds`."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, run(url, journal).encode())
        os._exit(0)
    os.close(writer)
    ended, _, _ = select.select([reader], [], [], seconds)
    if not ended:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    digest = os.read(reader, 1000).decode() if ended else ""
    os.close(reader)
    return digest or "killed"


def main() -> None:
    """Process each line of standard input."""
    for line in sys.stdin:
        journal, seconds = line.rsplit(" ", 1)
        sys.stdout.write(run_and_kill(sys.argv[1], journal, float(seconds)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

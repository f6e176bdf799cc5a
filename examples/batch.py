"""Answer many prompts as a batch job, with a journal, and go on with it as another process would.

Run it with a key in DASHSCOPE_API_KEY:            python examples/batch.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/batch.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from langchain_modelstudio import ChatModelStudio

REVIEWS = [
    "The battery lasts two days.",
    "The screen broke in a week.",
    "It is light, and the camera is good.",
    "The shop never answered.",
]


def submitted(llm: ChatModelStudio, journal: Path) -> None:
    """Submit a job, and leave it."""
    prompts = (f"Is this review good or bad? Answer with one word. {review}" for review in REVIEWS)
    job = llm.batch_job(prompts, journal=journal, max_tokens=8)
    job.submit()
    print(f"{job.status.total} prompts: {job.status.state}")


def finished(llm: ChatModelStudio, journal: Path) -> list[str]:
    """Go on with the job of a journal. Return the answers, in the order of the prompts."""
    job = llm.batch_job(journal=journal, max_tokens=8)
    job.wait(progress=True, poll_interval=0.5)
    answers = []
    for review, answer in zip(REVIEWS, job.results(), strict=True):
        text = str(answer) if isinstance(answer, Exception) else answer.text
        print(f"{review} {text}")
        answers.append(text)
    usage, cost = job.usage, job.cost(input=0.06, output=0.2)
    print(f"{usage.input_tokens} + {usage.output_tokens} tokens, {cost:.7f} at 0.06 and 0.2 a million")
    return answers


def main() -> None:
    """Submit a job, and finish it with its journal."""
    llm = ChatModelStudio(model="qwen-plus", enable_thinking=False)
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder, "reviews.db")
        print("A batch job, submitted\n")
        submitted(llm, journal)
        print("\nThe same job, from its journal\n")
        finished(llm, journal)


if __name__ == "__main__":
    main()

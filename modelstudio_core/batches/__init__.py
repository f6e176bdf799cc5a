"""Run prompts as batch jobs at half the price, with a journal on disk that allows resuming after a crash."""

from modelstudio_core.batches.job import BatchJob
from modelstudio_core.batches.journal import BatchStatus

__all__ = ["BatchJob", "BatchStatus"]

"""A service that rejects what Model Studio rejects, for conversations composed by other software.

It supports both protocols. A test that sends an invalid request fails, even if the software in between swallows the
error.

    with StrictService(Answer(calls=[...]), Answer(text=["Done."])) as server:
        agent.invoke(...)
"""

from __future__ import annotations

from types import TracebackType

from tests.loopback import Exchange, Loopback, Script, reply_json
from tests.native import is_native
from tests.service_rules import refusal


class StrictService(Loopback):
    """A `Loopback` that checks each request before a script answers it.

    Each answer is for one valid request, and the last one for all further requests. Leaving the `with` block raises
    AssertionError if a request was rejected.

    Attributes:
        refused: the messages of the errors; a test that expects one clears the list.
    """

    def __init__(self, *answers: Script) -> None:
        super().__init__(self._answer)
        self._answers = iter(answers)
        self._last = answers[-1]
        self.refused: list[str] = []

    def _answer(self, exchange: Exchange) -> None:
        refused = refusal(exchange.request)
        if refused is not None:
            self.refused.append(refused.message)
            reply_json(refused.status, refused.body(native=is_native(exchange.request)))(exchange)
            return
        next(self._answers, self._last)(exchange)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if error is None and self.refused:
            raise AssertionError(f"The service refused: {self.refused}")

"""The steps of a call, and the state of one attempt. `flow` yields the steps, `client` performs them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pydantic import SecretStr

from modelstudio_core.config import KeyProvider
from modelstudio_core.errors import ModelStudioError
from modelstudio_core.headers import SecretHeaders
from modelstudio_core.http.timeouts import Timeouts
from modelstudio_core.protocols.errors import request_id_of
from modelstudio_core.redaction import Redactor
from modelstudio_core.types import Delta, ExtraDelta, Form, ResponseDelta, ResponseHead, UsageDelta
from modelstudio_core.values import value_class

_METADATA = (ResponseDelta, UsageDelta, ExtraDelta)  # an answer that has only these is empty
_TOOLS = "server_tools"  # except for this extra: a tool that the service began to run is part of an answer


@value_class
class GetKey:
    """Call the caller's key function. The result is a SecretStr."""

    provider: KeyProvider


@value_class
class Open:
    """Send the request, with its own timeouts if given. The result is the ResponseHead."""

    url: str
    headers: SecretHeaders = field(repr=False)  # contain the key, which is never in a local variable of its own
    body: bytes | Form
    timeout: Timeouts | None = None
    method: str = "POST"
    to_service: bool = True


@dataclass(slots=True, eq=False, repr=False)  # not frozen, because a stream reuses one object for all reads
class Read:
    """Yield `deltas`, then read. The result is the next bytes, or None at the end of the body.

    Attributes:
        deltas: deltas decoded since the last read.
        trailing: read with a short timeout, because the answer is complete or an error.
        progress: the last read returned more than a heartbeat, so the short timeout starts again.
    """

    deltas: list[Delta]
    trailing: bool = False
    progress: bool = False


@value_class
class Perform:
    """Call a function that may block on disk I/O. The async driver calls it in a thread.

    The result is the function's.
    """

    function: Callable[[], Any]


@value_class
class Wait:
    """Close the response, if there is one, and sleep. No result."""

    seconds: float


@value_class
class End:
    """Yield `deltas`, then raise `error` if there is one, else finish the response. The last step.

    The driver raises the error, because the flow's stack frames contain data of the service, which may echo the key.
    """

    deltas: list[Delta]
    error: ModelStudioError | None = None


Step: TypeAlias = GetKey | Open | Read | Perform | Wait | End
Flow: TypeAlias = Generator[Step, Any, None]


@dataclass(slots=True, eq=False, repr=False)
class Attempt:
    """State of one attempt: what was sent and received so far.

    Attributes:
        has_output: part of an answer was received, so the request is not retried.
    """

    url: str | None = None
    headers: SecretHeaders | None = None
    head: ResponseHead | None = None
    deltas: list[Delta] = field(default_factory=list)
    has_output: bool = False
    form: Form | None = None
    secrets: tuple[SecretStr, ...] = ()
    _yielded: int = 0

    def pop_deltas(self) -> list[Delta]:
        """Return the new deltas to yield. Metadata is held back until part of an answer was received."""
        new = self.deltas[self._yielded :]
        if not self.has_output:
            self.has_output = any(
                not isinstance(delta, _METADATA) or (isinstance(delta, ExtraDelta) and delta.name == _TOOLS)
                for delta in new
            )
            if not self.has_output:
                return []
        self._yielded = len(self.deltas)
        return new

    @property
    def redactor(self) -> Redactor:
        """Return a redactor of the credentials that this attempt sent."""
        credentials = [] if self.headers is None else self.headers.credentials()
        fields = () if self.form is None else self.form.fields.values()
        return Redactor([*credentials, *self.secrets, *(value for value in fields if isinstance(value, SecretStr))])

    @property
    def request_id(self) -> str | None:
        """Return the request id from the body or the headers."""
        for delta in self.deltas[:1]:
            if isinstance(delta, ResponseDelta) and delta.request_id:
                return delta.request_id
        return None if self.head is None else request_id_of(self.head, {})

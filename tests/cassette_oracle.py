"""What the bytes of a cassette say, by a plain fold that knows json, the documented wire format and nothing of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.cassette_format import Interaction


@dataclass
class Expected:
    """What one response says, folded from its bytes."""

    text: str = ""
    reasoning: str = ""
    pieces: list[str] = field(default_factory=list)  # the events that hold text, reasoning or arguments, in order
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish: str | None = None
    usage: Mapping[str, Any] | None = None
    id: str | None = None
    error: Mapping[str, Any] | None = None
    request_id: str | None = None

    def take(self, event: Mapping[str, Any], field: str) -> None:
        self.id = self.id or event.get("id")
        self.usage = event.get("usage") or self.usage
        self.error, self.request_id = event.get("error"), event.get("request_id")
        for choice in event.get("choices", ()):
            said = choice[field]
            if said.get("reasoning_content"):
                self.reasoning += said["reasoning_content"]
                self.pieces.append("reasoning")
            if said.get("content"):
                self.text += said["content"]
                self.pieces.append("text")
            for position, call in enumerate(said.get("tool_calls") or ()):
                index = call.get("index", position)
                while len(self.calls) <= index:
                    self.calls.append({"id": "", "name": "", "args": ""})
                known, function = self.calls[index], call["function"]
                known["id"] = known["id"] or call.get("id") or ""
                known["name"] = known["name"] or function.get("name") or ""
                known["args"] += function.get("arguments") or ""
            self.finish = choice.get("finish_reason") or self.finish

    def finished(self, call: Mapping[str, Any]) -> dict[str, Any] | None:
        """The arguments of a call; None where it is none."""
        if not call["args"]:
            return None if self.finish == "length" else {}
        try:
            args = json.loads(call["args"])
        except ValueError:
            return None
        return args if isinstance(args, dict) else None


def expected(interaction: Interaction) -> Expected:
    """The fold of one response."""
    made, text = Expected(), interaction.body.decode()
    if not interaction.streams:
        made.take(json.loads(text), "message")
        return made
    for line in text.split("\n"):
        if line and line != "data: [DONE]":
            made.take(json.loads(line.removeprefix("data: ")), "delta")
    return made

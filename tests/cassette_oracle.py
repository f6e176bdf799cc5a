"""Fold the bytes of a cassette independently of this package, using only json and the documented wire format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.cassette_format import Interaction


@dataclass
class Expected:
    """The content of one response, folded from its bytes."""

    text: str = ""
    reasoning: str = ""
    pieces: list[str] = field(default_factory=list)  # the events that hold text, reasoning or arguments, in order
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish: str | None = None
    usage: Mapping[str, Any] | None = None
    id: str | None = None
    error: Mapping[str, Any] | None = None
    status: int | None = None  # of the event that is an error, where it says one
    request_id: str | None = None
    sources: list[Any] = field(default_factory=list)

    def take_native(self, event: Mapping[str, Any]) -> None:
        """Convert a native event or whole response to the compatible format."""
        if "output" not in event:
            self.error, self.request_id = event, event["request_id"]
            return
        output, usage = event["output"], event.get("usage") or {}
        choices = [{**choice, "message": _joined(choice["message"])} for choice in output["choices"]]
        self.sources = (output.get("search_info") or {}).get("search_results") or self.sources
        names = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens", "total_tokens": "total_tokens"}
        counts: dict[str, Any] = {theirs: usage[ours] for ours, theirs in names.items() if ours in usage}
        counts["prompt_tokens_details"] = {
            **usage.get("input_tokens_details", {}),
            **usage.get("prompt_tokens_details", {}),
        }
        counts["completion_tokens_details"] = usage.get("output_tokens_details")
        self.take({"choices": choices, "usage": counts if usage else None}, "message")
        self.finish = None if self.finish == "null" else self.finish

    def take_response(self, event: Mapping[str, Any]) -> None:
        """Read an event or whole response of the Responses protocol: finished items, and deltas for their order."""
        response, kind = event.get("response", event), event.get("type", "response.completed")
        if kind in ("response.created", "response.completed", "response.failed"):
            self.id, self.error = response["id"], response["error"]
            used = response["usage"] or {}
            names = {"input": "prompt", "output": "completion", "total": "total"}
            counts = {f"{names[name]}_tokens": used[f"{name}_tokens"] for name in names if used}
            details = {
                f"{names[name]}_tokens_details": used[f"{name}_tokens_details"] for name in list(names)[:2] if used
            }
            self.usage = counts | details or None
            if response["status"] == "completed":
                self.finish = "tool_calls" if self.calls else "stop"
        if kind.endswith((".reasoning_text.delta", ".output_text.delta")):
            self.pieces.append("text" if "output_text" in kind else "reasoning")
        items = [event["item"]] if kind == "response.output_item.done" else event.get("output", ())
        for item in items:
            if item["type"] == "reasoning":
                self.reasoning += "".join(part["text"] for part in item["summary"])
            elif item["type"] == "message":
                self.text += "".join(part["text"] for part in item["content"])
            elif item["type"] == "function_call":
                self.calls.append({"id": item["call_id"], "name": item["name"], "args": item["arguments"]})
            found = item.get("action", {}).get("sources", ())
            self.sources += [{name: value for name, value in each.items() if name != "type"} for each in found]

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
        """Return the arguments of a call, or None if they are not valid."""
        if not call["args"]:
            return None if self.finish == "length" else {}
        try:
            args = json.loads(call["args"])
        except ValueError:
            return None
        return args if isinstance(args, dict) else None


def asked(interaction: Interaction) -> dict[str, Any]:
    """Return the messages and parameters of a request. Native requests are converted to the compatible format."""
    request: dict[str, Any] = interaction.request
    if "input" not in request:
        return request
    if interaction.path.endswith("/responses"):
        system = [{"role": "system", "content": request["instructions"]}] if "instructions" in request else []
        tools = [_nested(tool) for tool in request.get("tools", ())]
        parameters = {name: value for name, value in request.items() if name not in ("input", "instructions")}
        return {**parameters, "messages": system + request["input"], "protocol": "responses"} | (
            {"tools": tools} if tools else {}
        )
    endpoint = {"native_endpoint": interaction.path.split("/")[-2], "protocol": "dashscope"}
    streams = {"stream": True} if interaction.streams else {}
    parameters = {name: value for name, value in request["parameters"].items() if name != "result_format"}
    return {"model": request["model"], "messages": request["input"]["messages"], **parameters, **streams, **endpoint}


def _nested(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a function in the format of chat requests. Other tools are unchanged."""
    if tool["type"] != "function":
        return tool
    return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}


def _joined(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message with text parts joined to a string."""
    content = message["content"]
    return {**message, "content": content if isinstance(content, str) else "".join(part["text"] for part in content)}


def expected(interaction: Interaction) -> Expected:
    """Return the folded content of one response."""
    made, text = Expected(), interaction.body.decode()
    if interaction.path.endswith("/responses"):
        made.request_id = interaction.headers["x-request-id"]
        data = [line[5:] for line in text.split("\n") if line.startswith("data:")] if interaction.streams else [text]
        for each in data:
            made.take_response(json.loads(each))
        return made
    native = "input" in interaction.request
    if not interaction.streams:
        made.take_native(json.loads(text)) if native else made.take(json.loads(text), "message")
        return made
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        if name == "data" and value != " [DONE]":
            made.take_native(json.loads(value)) if native else made.take(json.loads(value), "delta")
        elif value.startswith("HTTP_STATUS/"):
            status = int(value.removeprefix("HTTP_STATUS/"))
            made.status = None if status == 200 else status
    return made

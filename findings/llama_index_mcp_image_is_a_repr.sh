#!/usr/bin/env bash
# Guess:     a tool of an MCP server that returns an image reaches a LlamaIndex agent as an ImageBlock, or as a short
#            note that an image was returned.
# Really:    as one TextBlock with Python's repr of the whole CallToolResult, base64 included. An image of 3 kB is a
#            text of 4 kB; one of 1 MB would be 1.4 million characters of prompt, which no model can read as an image.
#            The same holds for a document (EmbeddedResource), and text comes with "meta=None content=[...]" around it.
# Version:   llama-index-tools-mcp 0.4.8, llama-index-core 0.14.25, mcp 1.30.0
# Date:      2026-11-29
# Seen:      blocks: ['TextBlock'], 4151 characters
#            meta=None content=[ImageContent(type='image', data='iVBOR0FBQUFB...
# Matters:   FunctionAgent with McpToolSpec: one screenshot can fill the context window. A tool of one's own that calls
#            client.call_tool and returns ImageBlock(image=base64 bytes) does what was expected.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    llama-index-tools-mcp==0.4.8 llama-index-core==0.14.25 mcp==1.30.0

cat > "$folder/server.py" <<'PYTHON'
import base64

from mcp.server.fastmcp import FastMCP
from mcp.types import ImageContent

server = FastMCP("camera", log_level="ERROR")


@server.tool(structured_output=False)
def photo(city: str) -> ImageContent:
    """Return a photo of a city."""
    return ImageContent(type="image", mimeType="image/png", data=base64.b64encode(b"\x89PNG" + b"A" * 3000).decode())


server.run("stdio")
PYTHON

cat > "$folder/client.py" <<'PYTHON'
import asyncio
import sys

from llama_index.tools.mcp import BasicMCPClient, McpToolSpec


async def main() -> None:
    client = BasicMCPClient(sys.executable, args=[sys.argv[1]])
    (tool,) = await McpToolSpec(client).to_tool_list_async()
    output = await tool.acall(city="Rome")
    kinds = [type(block).__name__ for block in output.blocks]
    print(f"blocks: {kinds}, {len(output.content)} characters")
    print(output.content[:64] + "...")
    assert kinds == ["TextBlock"]
    assert output.content.startswith("meta=None content=[ImageContent(type='image', data='")
    assert len(output.content) > 4000


asyncio.run(main())
PYTHON

"$folder/env/bin/python" "$folder/client.py" "$folder/server.py"

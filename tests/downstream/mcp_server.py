"""An MCP server on stdio whose tools return a document, an image, and both with a text."""

from __future__ import annotations

import base64

from mcp.server.fastmcp import FastMCP
from mcp.types import BlobResourceContents, EmbeddedResource, ImageContent, TextContent

PDF = base64.b64encode(b"%PDF-1.7 " + b"\0" * 300).decode()
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 300).decode()
server = FastMCP("documents", log_level="ERROR")


@server.tool(structured_output=False)
def report(city: str) -> EmbeddedResource:
    """Return the weather report of a city as a PDF."""
    contents = BlobResourceContents(uri=f"file:///{city}.pdf", mimeType="application/pdf", blob=PDF)
    return EmbeddedResource(type="resource", resource=contents)


@server.tool(structured_output=False)
def photo(city: str) -> ImageContent:
    """Return a photo of a city."""
    return ImageContent(type="image", mimeType="image/png", data=PNG)


@server.tool(structured_output=False)
def everything(city: str) -> list[TextContent | ImageContent | EmbeddedResource]:
    """Return text, image and document of a city."""
    return [TextContent(type="text", text=f"It is sunny in {city}."), photo(city), report(city)]


if __name__ == "__main__":
    server.run("stdio")

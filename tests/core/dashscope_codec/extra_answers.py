"""Answers of the native protocol with service-specific data, such as search sources."""

from __future__ import annotations

from modelstudio_core.types import (
    ExtraDelta,
)
from tests.core.dashscope_codec.wire import (
    CODE,
    END,
    LETTERS,
    NO_ROWS,
    ROWS,
    SEARCHED,
    SOURCES,
    USAGE,
    USED,
    WORDS,
    A,
    Answer,
    B,
    chunk,
)

EXTRAS = [
    Answer(
        "sources on the first event, empty lists from then on",
        [
            chunk("", usage={}, search_info={"search_results": ROWS}),
            chunk("A", search_info=NO_ROWS),
            chunk("B", search_info=NO_ROWS),
            chunk("", "stop", search_info=NO_ROWS, usage=USAGE | {"plugins": SEARCHED}),
        ],
        [SOURCES, *LETTERS, ExtraDelta("plugins", SEARCHED), USED],
        chunk(
            "AB",
            "stop",
            search_info={"search_results": ROWS, "extra_tool_info": []},
            usage=USAGE | {"plugins": SEARCHED},
        ),
    ),
    Answer(
        "sources repeated: said once",
        [chunk("A", search_info={"search_results": ROWS}), chunk("B", "stop", search_info={"search_results": ROWS})],
        [SOURCES, *LETTERS],
    ),
    Answer(
        "what comes later is added, more sources replace",
        [
            chunk("A", search_info={"search_results": ROWS}),
            chunk("B", search_info={"search_results": [], "extra_tool_info": [{"tool": "t"}]}),
            chunk("", "stop", search_info={"search_results": [*ROWS, *ROWS]}),
        ],
        [
            SOURCES,
            A,
            ExtraDelta("search_info", {"search_results": ROWS, "extra_tool_info": [{"tool": "t"}]}),
            B,
            ExtraDelta("search_info", {"search_results": [*ROWS, *ROWS], "extra_tool_info": [{"tool": "t"}]}),
            END,
        ],
    ),
    Answer(
        "no sources",
        [chunk("A", search_info=NO_ROWS), chunk("B", "stop", search_info=None)],
        LETTERS,
        chunk("AB", "stop", search_info={}),
    ),
    Answer(
        "the code that ran, on every event after it: said once",
        [chunk("", tool_info=[]), chunk("A", tool_info=CODE), chunk("B", "stop", tool_info=CODE)],
        [ExtraDelta("tool_info", CODE), *LETTERS],
        chunk("AB", "stop", tool_info=CODE),
    ),
    Answer(
        "what was read on an image, beside its text",
        [chunk([{"text": "A"}]), chunk([{"ocr_result": WORDS, "text": "B"}], "stop")],
        [A, B, ExtraDelta("ocr_result", WORDS), END],
        chunk([{"ocr_result": WORDS, "text": "AB"}], "stop"),
    ),
    Answer(
        "the sizes of images, in a part of their own",
        [chunk([{"text": "A"}]), chunk([{"text": "B"}, {"image_hw": [[28, 56]]}], "stop")],
        [A, B, ExtraDelta("image_hw", [[28, 56]]), END],
        chunk([{"text": "AB"}, {"image_hw": [[28, 56]]}], "stop"),
    ),
]

"""Error objects that the service sends."""

from __future__ import annotations

MODERATED = "data_inspection_failed"
FLAGGED = {"message": "Not appropriate.", "type": MODERATED, "param": "None", "code": MODERATED}

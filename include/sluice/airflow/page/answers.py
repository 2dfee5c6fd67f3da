"""Answers that a browser needn't load again while nothing has changed."""

from __future__ import annotations

import hashlib

from fastapi import Request, Response
from pydantic import BaseModel

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
"""Of everything under the page's address: nothing comes from elsewhere, and what runs is a file of the page's."""


def answer(request: Request, value: BaseModel) -> Response:
    """The value as JSON; 304 without it for whoever has it already."""
    content = value.model_dump_json().encode()
    tag = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'
    # `no-cache`: kept by this browser, and asked for each time.
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Cookie, Authorization"}
    known = {each.strip() for each in request.headers.get("if-none-match", "").split(",")}
    if tag in known:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/json", headers=headers)

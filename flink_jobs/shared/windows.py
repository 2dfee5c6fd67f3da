"""The effect of a changed window length on state, for every job with such a setting."""

from __future__ import annotations

from sluice import ChangesState

OPEN_WINDOWS = ChangesState("windows that are open hold counts for their old bounds")

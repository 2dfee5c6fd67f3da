"""What a change of a window's length means, said once for every job that has one."""

from __future__ import annotations

from sluice import ChangesState

OPEN_WINDOWS = ChangesState("windows that are open hold counts for their old bounds")

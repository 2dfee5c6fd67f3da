"""Values: what happens to a job's state in a deploy, operator by operator."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StateOfOperator(_Value):
    """A Flink operator, the size of its state, and what it computes in the old and the new release."""

    id: str
    name: str
    size: int
    """Bytes; 0 for a new operator."""
    old: str | None = None
    """What it computes (or, if its input has changed, the filter or function before it) in the release that wrote the
    state; None: the same as in the new one, or a setting alters the meaning of the state."""
    new: str | None = None


Fate = Literal["kept", "altered", "dropped", "added"]


class StateChange(_Value):
    """What happens to the state, operator by operator."""

    kept: tuple[StateOfOperator, ...] = ()
    """Their state is kept; that of a source, its positions, also if the rest is abandoned."""
    altered: tuple[StateOfOperator, ...] = ()
    """Their state is kept, and has another meaning for the new release."""
    dropped: tuple[StateOfOperator, ...] = ()
    """Their state is lost."""
    added: tuple[StateOfOperator, ...] = ()
    """New operators; listed only if others are dropped, which they may replace."""

    @property
    def fates(self) -> tuple[tuple[Fate, StateOfOperator], ...]:
        """Each operator with what happens to its state."""
        return tuple((fate, operator) for fate in get_args(Fate) for operator in getattr(self, fate))

    @property
    def held(self) -> tuple[StateOfOperator, ...]:
        """The operators with state in the old job."""
        return (*self.kept, *self.altered, *self.dropped)

    @property
    def input_changed(self) -> tuple[StateOfOperator, ...]:
        """The operators of `kept` with a changed filter or function before them: open windows mix old and new input."""
        return tuple(operator for operator in self.kept if operator.old is not None)

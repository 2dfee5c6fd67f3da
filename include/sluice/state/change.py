"""What becomes of a job's state in a deploy, operator by operator: the values."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StateOfOperator(_Value):
    """An operator and what it holds."""

    id: str
    name: str
    size: int
    """Bytes; 0 for an operator that is new."""
    old: str | None = None
    """What it computes (or, where its input has changed, the filter or function before it) in the release that holds
    the state; None: the same as in the new one, or a setting alters what the state means."""
    new: str | None = None


Fate = Literal["kept", "altered", "dropped", "added"]


class StateChange(_Value):
    """What becomes of the state, operator by operator."""

    kept: tuple[StateOfOperator, ...] = ()
    """It goes on; of a source, whose state is its positions, also where the rest is abandoned."""
    altered: tuple[StateOfOperator, ...] = ()
    """It goes on, and means something else to the new release."""
    dropped: tuple[StateOfOperator, ...] = ()
    """It is lost."""
    added: tuple[StateOfOperator, ...] = ()
    """New operators, told of beside dropped ones, which they may replace."""

    @property
    def fates(self) -> tuple[tuple[Fate, StateOfOperator], ...]:
        """Each operator with what becomes of it."""
        return tuple((fate, operator) for fate in get_args(Fate) for operator in getattr(self, fate))

    @property
    def held(self) -> tuple[StateOfOperator, ...]:
        """The operators that the old job holds state of."""
        return (*self.kept, *self.altered, *self.dropped)

    @property
    def input_changed(self) -> tuple[StateOfOperator, ...]:
        """Those of `kept` before which a filter or function differs: windows that are open mix both."""
        return tuple(operator for operator in self.kept if operator.old is not None)

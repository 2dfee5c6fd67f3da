"""A placement as a test needs it, whatever transitions lead there."""


class Columns:
    """A transition that sets columns of a placement."""

    def __init__(self, columns):
        self._columns = columns

    def apply(self, placement):
        for name, value in self._columns.items():
            setattr(placement, name, value)

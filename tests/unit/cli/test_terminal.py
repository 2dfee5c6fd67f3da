"""What a command's end says to the shell."""

import pytest
import typer

from sluice.errors import OperationError, RefusedError
from sluice.terminal import run


def status(error=None):
    """The exit status of a command that ends so."""
    app = typer.Typer()

    @app.command()
    def command() -> None:
        if error is not None:
            raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["command"])
        try:
            run(app)
        except SystemExit as ended:
            return ended.code
    return 0


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, 0),
        (OperationError("lost"), 1),
        (RefusedError("no"), 2),
        (KeyboardInterrupt(), 130),
        (typer.Abort(), 1),
        (typer.Exit(3), 3),
        (typer.BadParameter("x"), 2),
    ],
    ids=repr,
)
def test_whoever_runs_it_learns_how_it_ended(error, expected):
    """One that is interrupted must not let what follows it in a script run on."""
    assert status(error) == expected

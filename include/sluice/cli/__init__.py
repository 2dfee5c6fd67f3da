"""The command line: `sluice`."""

from sluice.cli.app import main

__all__ = ["main"]

"""A program that imports a module and prints the modules of Sluice that were loaded with it."""

import sys
from importlib import import_module

if __name__ == "__main__":
    import_module(sys.argv[1])
    print(*sorted(name for name in sys.modules if name.startswith("sluice.")))

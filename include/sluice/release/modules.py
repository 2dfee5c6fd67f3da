"""The modules of a job: its own, and those of the project that it imports, directly or indirectly."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from sluice.errors import ConfigError
from sluice.settings import JOBS_PACKAGE


def job_modules(root: Path, module: str) -> dict[str, Path]:
    """The module and every module of `flink_jobs` that it imports, directly or indirectly, with their packages.

    Args:
        root: The project's root.
        module: The job's module, e.g. `flink_jobs.event_metrics`.

    Returns:
        Path by module name, sorted by name.

    Raises:
        ConfigError: a file can't be read or parsed, or an imported module doesn't exist.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        file = module_file(root, name)
        if file is None:
            raise ConfigError(f"module {name} does not exist in {root / JOBS_PACKAGE}", remedy="correct the import")
        found[name] = file
        package, _, _ = name.rpartition(".")
        if package:
            waiting.append(package)
        waiting.extend(_imports(root, name, file))
    return dict(sorted(found.items()))


def module_file(root: Path, name: str) -> Path | None:
    """The file of a module of the project; None: the module doesn't exist."""
    base = root.joinpath(*name.split("."))
    package = base / "__init__.py"
    if package.is_file():
        return package
    file = base.with_suffix(".py")
    if file.is_file():
        return file
    # A directory without __init__.py is a namespace package: it has no code.
    return base if base.is_dir() else None


def parse(file: Path) -> ast.Module:
    """The syntax tree of a file; an empty one for a namespace package.

    Raises:
        ConfigError: the file can't be read or parsed; with the line.
    """
    return _parse(file, content(file))


def content(file: Path) -> bytes:
    """The bytes of a file; empty for a namespace package.

    Raises:
        ConfigError: the file can't be read.
    """
    try:
        return b"" if file.is_dir() else file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error


def _parse(file: Path, code: bytes) -> ast.Module:
    try:
        return ast.parse(code, filename=str(file))
    except SyntaxError as error:
        raise ConfigError(f"{file}:{error.lineno or 1}: not Python: {error.msg}") from error


def _imports(root: Path, module: str, file: Path) -> Iterator[str]:
    """Modules of the project that a file imports, also inside functions."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for name, is_certain in _named(file, content(file), package):
        # `from package import name`: name is a module, or an attribute of the package.
        if name.partition(".")[0] == JOBS_PACKAGE and (is_certain or module_file(root, name)):
            yield name


@lru_cache(maxsize=1024)
def _named(file: Path, code: bytes, package: str) -> tuple[tuple[str, bool], ...]:
    """The names that a file of this content imports, each with whether it must be a module. Jobs share modules."""
    found: list[tuple[str, bool]] = []
    for node in ast.walk(_parse(file, code)):
        if isinstance(node, ast.Import):
            found += [(alias.name, True) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            found += [(base, True), *((f"{base}.{alias.name}", False) for alias in node.names)]
    return tuple(found)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])

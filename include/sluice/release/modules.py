"""Which modules of the project a job consists of: its own, and what it imports of the project, and so on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from sluice.errors import ConfigError
from sluice.settings import JOBS_PACKAGE


def job_modules(root: Path, module: str) -> dict[str, Path]:
    """The module and every module of `flink_jobs` that it imports, directly or not, with their packages.

    Args:
        root: The project's root.
        module: The job's module, e.g. `flink_jobs.event_metrics`.

    Returns:
        Path by module name, sorted by name.

    Raises:
        ConfigError: a file can't be read or parsed, or an import leads nowhere.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        file = module_file(root, name)
        if file is None:
            raise ConfigError(f"module {name} is not below {root / JOBS_PACKAGE}", remedy="correct the import")
        found[name] = file
        package, _, _ = name.rpartition(".")
        if package:
            waiting.append(package)
        waiting.extend(_imports(root, name, file))
    return dict(sorted(found.items()))


def module_file(root: Path, name: str) -> Path | None:
    """The file of a module of the project; None when there is none."""
    base = root.joinpath(*name.split("."))
    package = base / "__init__.py"
    if package.is_file():
        return package
    file = base.with_suffix(".py")
    if file.is_file():
        return file
    # A directory without __init__.py is a namespace package: it has no code of its own.
    return base if base.is_dir() else None


def parse(file: Path) -> ast.Module:
    """The syntax tree of a file; an empty one for a namespace package.

    Raises:
        ConfigError: it can't be read or parsed; with the line.
    """
    if file.is_dir():
        return ast.Module(body=[], type_ignores=[])
    try:
        return ast.parse(file.read_bytes(), filename=str(file))
    except SyntaxError as error:
        raise ConfigError(f"{file}:{error.lineno or 1}: not Python: {error.msg}") from error
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error


def _imports(root: Path, module: str, file: Path) -> Iterator[str]:
    """Modules of the project that a file imports, inside functions as well."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
            # `from package import name`: a module or something in the package.
            names = [name for name in names if name == base or module_file(root, name)]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] == JOBS_PACKAGE)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])

"""The product's modules import each other without cycles, so that each can be understood and imported by itself."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

INCLUDE = Path(__file__).resolve().parents[2] / "include"


def test_product_modules_have_no_import_cycles():
    modules = module_files(INCLUDE / "sluice")
    assert "sluice.plan.model" in modules
    TopologicalSorter(import_graph(modules)).prepare()


@pytest.mark.parametrize(
    "text",
    [
        "from shop import basket",
        "from shop.basket import Basket",
        "import shop.basket",
        "try:\n    from shop.basket import Basket\nexcept ImportError:\n    Basket = None",
    ],
)
def test_an_import_cycle_is_found(tmp_path, text):
    modules = package(tmp_path, order=text, basket="from shop.order import Order")
    with pytest.raises(CycleError, match=r"shop\.basket"):
        TopologicalSorter(import_graph(modules)).prepare()


@pytest.mark.parametrize(
    "text",
    [
        "def total():\n    from shop.basket import Basket",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from shop.basket import Basket",
        "import json",
    ],
)
def test_imports_in_functions_and_for_types_make_no_cycle(tmp_path, text):
    modules = package(tmp_path, order=text, basket="from shop.order import Order")
    TopologicalSorter(import_graph(modules)).prepare()


def package(directory: Path, **texts: str) -> dict[str, Path]:
    """The modules of a package `shop` with these texts."""
    root = directory / "shop"
    root.mkdir()
    for name, text in {"__init__": "", **texts}.items():
        (root / f"{name}.py").write_text(text)
    return module_files(root)


def module_files(root: Path) -> dict[str, Path]:
    """The files of a package's modules by the modules' dotted names."""
    found = {}
    for file in root.rglob("*.py"):
        parts = file.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def import_graph(modules: dict[str, Path]) -> dict[str, set[str]]:
    """By module: the modules among these that it imports when it is imported itself."""
    return {
        name: {target for node in import_nodes(ast.parse(file.read_text())) for target in targets(node, modules)}
        for name, file in modules.items()
    }


def import_nodes(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The import statements that run when the module is imported: not in functions, nor under TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import() | ast.ImportFrom():
                yield child
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                pass
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=orelse):
                for other in orelse:
                    yield from import_nodes(ast.Module([other], []))
            case _:
                yield from import_nodes(child)


def targets(node: ast.Import | ast.ImportFrom, modules: dict[str, Path]) -> Iterator[str]:
    """The modules among these that a statement imports; of `from package import name`, the module if it is one."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in modules)
        return
    assert node.level == 0, "relative imports are not used"
    for alias in node.names:
        full = f"{node.module}.{alias.name}"
        if full in modules:
            yield full
        elif node.module in modules:
            yield node.module

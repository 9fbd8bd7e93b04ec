"""Which files a module of a package needs: what an image contains, and what determines the weights of a model.

Imports are read from the source, those inside functions too, so that nothing is imported to find out. A text that is
the name of a module, as in a command line, counts as an import of it.
"""

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

NAMED = re.compile(r"[a-z_]\w*(\.\w+)+(?=(:\w+)?$)")  # `package.module` or `package.module:function`, and nothing else


def import_closure(names: Iterable[str], roots: Iterable[Path]) -> set[Path]:
    """Return the files of some modules, of all modules that they import, and so on.

    Beside the modules these are the `__init__.py` of their folders, and what lies in their folders that is no Python,
    such as templates. An `__init__.py` is not read: what it imports, it imports for others.

    Args:
        names: Names of modules, such as "audiotagging.training.train".
        roots: The folders of the packages whose modules are looked for, such as src/audiotagging. Other packages are
            left out.

    Raises:
        ValueError: If a root has no module of such a name.
    """
    packages = {root.name: root for root in roots}
    found: set[Path] = set()
    seen: set[str] = set()
    left = set(names)
    while left := left - seen:
        seen.add(name := left.pop())
        package, *parts = name.split(".")
        path = packages[package].joinpath(*parts).with_suffix(".py")
        if not path.is_file():
            raise ValueError(f"expected a module {name}, found no {path}")
        found |= {path, *_belonging(path.parent, packages[package])}
        left |= imported_modules(path.read_text(encoding="utf-8"), packages.values())
    return found


def imported_modules(source: str, roots: Iterable[Path]) -> set[str]:
    """Return the names of the modules of some packages that a source imports or names, anywhere in it."""
    packages = {root.name: root for root in roots}

    def is_module(name: str) -> bool:
        package, *parts = name.split(".")
        return package in packages and packages[package].joinpath(*parts).with_suffix(".py").is_file()

    return {name for name in _names(source) if is_module(name)}


@functools.cache  # the images share most of their modules
def _names(source: str) -> frozenset[str]:
    """Return whatever may be the name of a module in a source."""
    return frozenset(_names_in(ast.parse(source)))


def _names_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and (match := NAMED.match(node.value)):
            yield match[0]


def _belonging(folder: Path, root: Path) -> Iterator[Path]:
    """Yield the files that every module in a folder needs: those that make it a package, and those that are no code."""
    for parent in (folder, *folder.parents):
        yield parent / "__init__.py"
        if parent == root:
            break
    for path in folder.iterdir():
        if path.is_dir() and path.name != "__pycache__" and not (path / "__init__.py").exists():
            yield from (file for file in path.rglob("*") if file.is_file())

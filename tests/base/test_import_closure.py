"""Which files a module needs: found in the source, and the same as what is imported."""

import subprocess
import sys

import pytest
from helpers.modules import PACKAGE

from audiotagging.base.import_closure import import_closure, imported_modules

SOURCES = {
    "import package.a": {"package.a"},
    "import package.a as b, os": {"package.a"},
    "from package import a": {"package.a"},
    "from package.a import a": {"package.a"},
    "from package.folder import b": {"package.folder.b"},
    "def f():\n    if True:\n        from package import a": {"package.a"},
    "run([python, '-m', 'package.a'])": {"package.a"},
    "run('package.a:function')": {"package.a"},
    "'package.a and more'": set(),
    "'other.a'": set(),
    "import packages.a": set(),
    "from package import nothing": set(),
    '"""About package.a."""': set(),
}


@pytest.fixture
def package(tmp_path):
    """A package with two modules and a template."""
    for name in ("__init__.py", "a.py", "folder/__init__.py", "folder/b.py", "folder/page/b.html", "folder/c.py"):
        (tmp_path / "package" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "package" / name).write_text("")
    return tmp_path / "package"


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_names_what_it_imports(package, source):
    assert imported_modules(source, [package]) == SOURCES[source]


def test_the_closure_has_imports_of_imports_their_packages_and_templates(package):
    (package / "a.py").write_text("from package.folder import b")
    (package / "folder" / "b.py").write_text("import package.a")  # a circle
    (package / "__init__.py").write_text("import package.folder.c")  # for others
    names = ["__init__.py", "a.py", "folder/__init__.py", "folder/b.py", "folder/page/b.html"]
    assert import_closure(["package.a"], [package]) == {package / name for name in names}
    with pytest.raises(ValueError, match=r"expected a module package\.d, found no .*d\.py"):
        import_closure(["package.d"], [package])


def test_what_python_imports_is_in_the_closure():
    name = "audiotagging.data.sources"
    code = f"import sys, {name}; print(*(m.__file__ for n, m in sys.modules.items() if n.startswith('audiotagging')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {str(path) for path in import_closure([name], [PACKAGE])}

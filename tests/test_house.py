"""The house itself: who imports whom, what importing costs, what is public, what is never called."""

import ast
import importlib
import importlib.util
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lrcontrol

ROOT = Path(lrcontrol.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

BASE = {"errors", "checks", "docstrings", "files"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "checks": {"errors"},
    "docstrings": set(),
    "files": {"errors"},
    "schedules": BASE,
    "controls": BASE | {"schedules"},
    "runs": BASE | {"schedules", "controls"},
    "training": BASE | {"schedules", "controls", "runs"},
    "search": BASE | {"schedules", "controls", "runs"},
    "analysis": BASE | {"schedules", "controls", "runs"},
    "selection": BASE | {"schedules", "controls", "runs", "search", "analysis"},
    "report": BASE | {"schedules", "controls", "runs", "analysis"},
}
EVERYTHING = {*MAY_IMPORT, "interop"}
MAY_IMPORT |= {"interop": EVERYTHING, "study_folder": {"errors", "runs"}, "__main__": {"cli"}}
MAY_IMPORT["time_budgets"] = EVERYTHING | {"study_folder"}
MAY_IMPORT["workplace"] = EVERYTHING | {"study_folder", "time_budgets"}
MAY_IMPORT["refining"] = EVERYTHING
MAY_IMPORT["ranging"] = (EVERYTHING - {"interop"}) | {"study_folder"}
MAY_IMPORT["interop"] = EVERYTHING | {"ranging"}  # a client's range test is one of a model
MAY_IMPORT["citing"] = EVERYTHING | {"ranging", "refining"}
MAY_IMPORT["studies"] = EVERYTHING
MAY_IMPORT["searching"] = EVERYTHING | {"studies", "study_folder", "time_budgets", "workplace", "refining"}
MAY_IMPORT["api"] = EVERYTHING | {"studies", "study_folder", "time_budgets", "workplace", "searching"}
MAY_IMPORT["cli_words"] = EVERYTHING
MAY_IMPORT["cli_store"] = EVERYTHING | {"cli_words"}
MAY_IMPORT["cli_refine"] = EVERYTHING | {"refining", "cli_words"}
MAY_IMPORT["cli_range"] = EVERYTHING | {"ranging", "cli_words"}
MAY_IMPORT["cli"] = EVERYTHING | {"api", "citing", "cli_words", "cli_store", "cli_refine", "cli_range"}
UPWARDS = {  # a schedule draws itself, and so do a refinement and a range test; nothing else goes against the layers
    ("lrcontrol.analysis.lr_range", "lrcontrol.report.lr_range.range_chart"),
    ("lrcontrol.analysis.lr_range", "lrcontrol.report.theme.Chart"),
    ("lrcontrol.analysis.refine", "lrcontrol.report.refinement.refinement"),
    ("lrcontrol.analysis.refine", "lrcontrol.report.theme.Chart"),
    ("lrcontrol.schedules.schedule", "lrcontrol.report.charts.schedules"),
    ("lrcontrol.schedules.schedule", "lrcontrol.report.theme.Chart"),
}
ONLY_IN = {"torch": {"training", "interop"}, "altair": {"report"}}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "yaml"}


def part_of(file: Path) -> str:
    """The folder or file right under the package that `file` belongs to."""
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(file: Path, *, for_types: bool = True) -> Iterator[tuple[str, int]]:
    """The absolute name of everything that a file imports, at its top or inside a function, and the line."""
    package = module_name(file) if file.name == "__init__.py" else module_name(file).rpartition(".")[0]

    def walk(node: ast.AST) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, child.lineno) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                above = package.rsplit(".", child.level - 1)[0] if child.level else ""
                base = ".".join(filter(None, (above, child.module)))
                yield from ((f"{base}.{alias.name}", child.lineno) for alias in child.names)
            elif not for_types_only(child) or (for_types and part_of(file) != "__init__"):
                yield from walk(child)

    yield from walk(ast.parse(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_follow_the_layers(file: Path) -> None:
    """No edge that is not drawn; an import inside a function or for types only is an edge too.

    Only torch and altair may be named for types where they are not loaded.
    """
    owner = part_of(file)
    assert owner == "__init__" or owner in MAY_IMPORT, f"{owner} has no place in the layers"
    for name, line in imports(file, for_types=False):
        top = name.partition(".")[0]
        assert owner in ONLY_IN.get(top, {owner}), f"{file}:{line} imports {top}"
    for name, line in imports(file):
        top, _, rest = name.partition(".")
        if top == "lrcontrol" and owner != "__init__":
            target = rest.partition(".")[0]
            drawn = target == owner or target in MAY_IMPORT[owner] or (module_name(file), name) in UPWARDS
            assert drawn, f"{file}:{line} imports {name}"


def test_the_root_imports_nothing_of_ours() -> None:
    assert [name for name, _ in imports(ROOT / "__init__.py") if name.startswith("lrcontrol")] == []


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import lrcontrol", ("torch", "altair", "numpy", "msgspec", "scipy", "sklearn")),
        ("import lrcontrol; dir(lrcontrol); lrcontrol.__all__", ("torch", "altair", "numpy")),
        ("import lrcontrol; lrcontrol.schedule('rex').multipliers(3)", ("torch", "altair", "scipy", "sklearn")),
        ("import lrcontrol.interop; dir(lrcontrol.interop)", ("torch", "jax", "keras", "lightning", "transformers")),
        ("import lrcontrol.analysis.bound", ("torch", "altair", "sklearn")),
        ("import lrcontrol.controls.scheduled", ("torch", "altair", "scipy", "sklearn")),
    ],
)
def test_a_fresh_process_loads_no_more_than_it_needs(statement: str, absent: tuple[str, ...]) -> None:
    code = f"import sys; {statement}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_every_public_name_resolves_and_is_listed() -> None:
    assert lrcontrol.__all__ == sorted(lrcontrol.__all__)
    assert dir(lrcontrol) == lrcontrol.__all__
    for name in lrcontrol.__all__:
        assert getattr(lrcontrol, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        lrcontrol.nothing  # noqa: B018 - the access is the test


def test_type_checkers_see_the_same_public_names() -> None:
    """What is imported for types in the root is what `__getattr__` serves."""
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    typed = {
        alias.asname or alias.name
        for node in tree.body
        if for_types_only(node)
        for child in ast.walk(node)
        if isinstance(child, ast.ImportFrom)
        for alias in child.names
    }
    assert typed == set(lrcontrol.__all__)


def loaded(file: Path) -> ModuleType:
    name = module_name(file)
    if part_of(file) == "__main__":
        pytest.skip("runs when imported")
    if part_of(file) == "interop" and file.stem in ("ignite", "keras", "optax", "skorch"):
        pytest.importorskip(file.stem)  # a client that is not installed
    return importlib.import_module(name)


def is_public(name: str) -> bool:
    return not name.startswith("_")


def defined(file: Path) -> dict[str, str | None]:
    """Every public class and function of a file, but for the app's commands, and its docstring."""
    return {
        node.name: ast.get_docstring(node)
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and is_public(node.name)
        and not any("app.command" in ast.unparse(decorator) for decorator in node.decorator_list)
    }


MODULES = [file for file in FILES if file.name != "__init__.py" and part_of(file) != "__main__"]


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_all_is_sorted_and_complete_and_documented(file: Path) -> None:
    """Every public class and function is listed and documented; a constant is public where it is listed."""
    module = loaded(file)
    names = getattr(module, "__all__", None)
    assert names is not None, f"{module.__name__} has no __all__"
    assert all(hasattr(module, name) for name in names)
    constants, classes, functions = [], [], []
    for name in names:
        (constants if name.isupper() else classes if name[:1].isupper() else functions).append(name)
    assert list(names) == [*sorted(constants), *sorted(classes), *sorted(functions)], "__all__ is not sorted"
    known = defined(file)
    assert set(known) <= set(names), f"__all__ of {module.__name__} lacks {sorted(set(known) - set(names))}"
    bare = [name for name, text in known.items() if not text]
    assert not bare, f"{module.__name__} has no documentation of {bare}"
    assert module.__doc__, f"{module.__name__} has no docstring"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_that_runs_what_it_reads(file: Path) -> None:
    """No eval, exec, pickle, yaml.load or shell=True, anywhere."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in FORBIDDEN_CALLS, f"{file}:{node.lineno} calls {called}"
            assert called not in ("os.system", "os.popen", "torch.load"), f"{file}:{node.lineno} calls {called}"
            for keyword in node.keywords:
                shell = keyword.arg == "shell" and not (
                    isinstance(keyword.value, ast.Constant) and not keyword.value.value
                )
                assert not shell, f"{file}:{node.lineno} opens a shell"
                unsafe = keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False"
                assert not unsafe, f"{file}:{node.lineno} allows pickle"
    for name, line in imports(file):
        assert name.partition(".")[0] not in FORBIDDEN_MODULES, f"{file}:{line} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nobody_asserts_a_users_input_or_raises_bare_exceptions(file: Path) -> None:
    """An `assert` needs a reason on its line; `raise Exception` has none."""
    lines = file.read_text(encoding="utf-8").splitlines()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.Assert):
            assert "noqa: S101 - " in lines[node.lineno - 1], f"{file}:{node.lineno} asserts without a reason"
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = ast.unparse(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)
            assert raised not in ("Exception", "BaseException"), f"{file}:{node.lineno} raises {raised}"


def test_the_error_tree_is_as_drawn() -> None:
    """Every error stands in the docstring, under its parent, and is a builtin's child as drawn."""
    from lrcontrol import errors

    drawn = {
        line.lstrip("│├└─ ").split()[0]: line
        for line in (errors.__doc__ or "").splitlines()
        if "Error" in line or "─" in line
    }
    classes: dict[str, Any] = dict(inspect.getmembers(errors, inspect.isclass))
    assert set(drawn) >= set(errors.__all__)
    for name in errors.__all__:
        error = classes[name]
        assert issubclass(error, errors.LRControlError)
        builtin = [base.__name__ for base in error.__mro__ if base in (ValueError, IndexError, OSError, KeyError)]
        parent = error.__mro__[1]
        if parent is errors.LRControlError and name != "LRControlError":
            assert builtin
            assert builtin[0] in drawn[name]


SCRIPTS = sorted(
    file
    for folder in ("benchmarks", "examples", "reliability")
    for file in (Path(__file__).parents[1] / folder).rglob("*.py")
)


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: "/".join(file.parts[-2:]))
def test_scripts_that_the_tests_do_not_run_import_what_there_is(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "lrcontrol":
            module = importlib.import_module(str(node.module))
            for each in node.names:
                here = hasattr(module, each.name) or importlib.util.find_spec(f"{node.module}.{each.name}")
                assert here, f"{file}:{node.lineno} imports {each.name}, which {node.module} has not"

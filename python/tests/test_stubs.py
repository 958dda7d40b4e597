"""The stubs, the docstrings and the module say the same."""

import ast
import importlib
import inspect
import os

import pytest

import stepwell

FOLDER = os.path.dirname(stepwell.__file__)
CLASSES = ["Artifact", "Metric", "MetricsArtifact", "Report", "Result", "Run", "Stats"]


def stub(name):
    with open(os.path.join(FOLDER, name)) as file:
        return ast.parse(file.read())


def names(body):
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name, node
        elif isinstance(node, ast.AnnAssign):
            yield node.target.id, node


def public(names):
    return {name for name in names if not name.startswith("_")}


def test_the_package_is_typed_and_exports_what_it_says():
    assert os.path.exists(os.path.join(FOLDER, "py.typed"))
    # The module `cmf` is loaded by those who import it, such as another test.
    assert public(vars(stepwell)) - {"cmf"} == {name for name in stepwell.__all__ if not name.startswith("_")}
    exported = next(
        ast.literal_eval(node.value)
        for node in stub("__init__.pyi").body
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
    )
    assert exported == stepwell.__all__


def test_the_native_stub_names_what_is_there():
    native = importlib.import_module("stepwell._native")
    stubbed = {name for name, _ in names(stub("_native.pyi").body)}
    helpers = {"_HasItem"}
    assert stubbed - helpers == {name for name in vars(native) if not name.startswith("__")} | {"__all__", "__build__", "__version__"}


@pytest.mark.parametrize("name", CLASSES)
def test_the_stub_of_a_class_has_its_members(name):
    node = dict(names(stub("_native.pyi").body))[name]
    stubbed = {member for member, _ in names(node.body)}
    cls = getattr(stepwell, name)
    assert public(stubbed) == public(vars(cls))
    for special in stubbed - public(stubbed):
        assert hasattr(cls, special)


@pytest.mark.parametrize("name", [*CLASSES, "start", "sql", "runs"])
def test_everything_public_is_documented_and_has_the_signature_of_its_stub(name):
    thing = getattr(stepwell, name)
    assert inspect.getdoc(thing)
    node = dict(names(stub("_native.pyi").body))[name]
    functions = {name: (thing, node)} if callable(thing) and not inspect.isclass(thing) else {}
    if inspect.isclass(thing):
        for member, declared in names(node.body):
            if member.startswith("__"):
                continue
            assert inspect.getdoc(getattr(thing, member)) or name == "Metric" or member == "_repr_html_", member
            if not any(getattr(mark, "id", "") == "property" for mark in declared.decorator_list):
                functions[member] = (getattr(thing, member), declared)
    for label, (function, declared) in functions.items():
        told = inspect.signature(function).parameters
        arguments = declared.args.posonlyargs + declared.args.args + declared.args.kwonlyargs
        assert list(told) == [argument.arg for argument in arguments], label


def test_errors_derive_from_one_class():
    for name in stepwell.errors.__all__:
        error = getattr(stepwell.errors, name)
        assert error.__doc__ and (issubclass(error, stepwell.StepwellError) or name == "StepwellWarning")
    assert issubclass(stepwell.errors.InputError, ValueError)
    assert issubclass(stepwell.errors.InputTypeError, TypeError)
    assert issubclass(stepwell.errors.StorageError, OSError)


def test_importing_needs_nothing_heavy():
    import subprocess
    import sys

    code = "import sys; import stepwell; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
                                capture_output=True, text=True, check=True).stdout.split())  # fmt: skip
    assert not loaded & {"numpy", "pandas", "pyarrow", "polars", "torch", "typing", "inspect", "dataclasses", "json"}

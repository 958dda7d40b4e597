"""Steps of a pipeline as plain functions, whose inputs and outputs are logged: CMF's `contrib.auto_logging_v01`.

    @step(pipeline_name="iris")
    def train(params: Parameters, dataset: Dataset) -> dict:
        ...
        return {"model": MLModel("model.pkl", {"trees": 10})}

    if __name__ == "__main__":
        cli_run(train)              # python train.py --params trees=10 dataset=data/iris.pkl

Environment: CMF_PIPELINE names the pipeline where the decorator does not, CMF_STAGE the stage, CMF_URI the folder of the store
(`mlmd`). CMF_GRAPH and CMF_IS_SERVER are read as `Cmf` reads its arguments.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import typing
from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import StepwellError
from ._cmf import Cmf
from ._values import script_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "Artifact", "CMFError", "Context", "Dataset", "ExecutionMetrics", "MLModel", "MLModelCard", "Parameters", "cli_run",
    "prepare_workspace", "step",
]  # fmt: skip


class CMFError(StepwellError):
    """A step that is not declared or called as it must be; the message says how."""


class Artifact:
    """An input or output of a step: where it is, and properties of it."""

    def __init__(self, uri: str | Path, params: Mapping[str, Any] | None = None) -> None:
        self.uri = uri if isinstance(uri, str) else uri.as_posix()
        self.params = dict(params or {})


class Dataset(Artifact):
    """A data set: a file or a folder."""


class MLModel(Artifact):
    """A model. `params` may hold model_framework, model_type and model_name; the others become properties."""


class MLModelCard(Artifact):
    """A description of a model: a file, logged as a data set."""


class ExecutionMetrics(Artifact):
    """Final values of a step, under a name."""

    def __init__(self, uri: str | Path, name: str, params: Mapping[str, Any] | None = None) -> None:
        super().__init__(uri, params)
        self.name = name


class Context(dict[str, typing.Any]):
    """Settings of the process that runs a step, such as its workspace; during the step, `cmf` is the `Cmf` that logs."""


class Parameters(dict[str, typing.Any]):
    """Parameters of a step, such as a learning rate: properties of its execution."""


def step(pipeline_name: str | None = None, pipeline_stage: str | None = None) -> Callable[..., Any]:
    """Decorates a function so that each call of it is an execution with its inputs and outputs.

    Every parameter is annotated: at most one Context, at most one Parameters, any number of artifacts. The function
    returns None or a dict of artifacts. The call returns what the function returned. An exception leaves the execution
    with its inputs, and goes on.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            pipeline = pipeline_name or os.environ.get("CMF_PIPELINE")
            if not pipeline:
                raise CMFError("the pipeline has no name: use @step(pipeline_name=...) or set CMF_PIPELINE")
            stage = pipeline_stage or os.environ.get("CMF_STAGE") or getattr(function, "__name__", script_name())
            bound = inspect.signature(function).bind(*args, **kwargs).arguments
            context = _only(bound, Context)
            inputs = {name: value for name, value in bound.items() if isinstance(value, Artifact)}
            strange = [name for name, value in bound.items() if not isinstance(value, (Artifact, Context, Parameters))]
            if strange:
                raise CMFError(f"{strange[0]} is no Context, no Parameters and no artifact: a step takes nothing else")
            cmf = Cmf(os.environ.get("CMF_URI", "mlmd"), pipeline, graph=_is_set("CMF_GRAPH"), is_server=_is_set("CMF_IS_SERVER"))
            cmf.create_context(stage)
            cmf.create_execution(stage, dict(_only(bound, Parameters) or {}))
            _log(cmf, "input", inputs)
            if context is not None:
                context["cmf"] = cmf
            try:
                outputs = function(*args, **kwargs)
                _log(cmf, "output", outputs or {})
            finally:
                if context is not None:
                    context.pop("cmf", None)
                cmf.finalize()
            return outputs

        return wrapper

    return decorate


def cli_run(step_fn: Callable[..., Any]) -> None:
    """Calls a step with what the command line says: `--params a=1,b=2`, `--ctx workspace=w`, and inputs as `name=path`."""
    import argparse

    parser = argparse.ArgumentParser(description=inspect.getdoc(step_fn))
    parser.add_argument("--params", default="", help="parameters of the execution: name=value,name=value")
    parser.add_argument("--ctx", default="", help="settings of the process: name=value,name=value")
    parser.add_argument("inputs", nargs="*", help="inputs: name=path")
    parsed = parser.parse_args(sys.argv[1:])
    context, params = Context(_pairs(parsed.ctx.split(","))), Parameters(_pairs(parsed.params.split(",")))
    inputs = _pairs(parsed.inputs)
    arguments: dict[str, Any] = {}
    for name, kind in _annotations(step_fn).items():
        if issubclass(kind, Context):
            arguments[name], context = context, Context()
        elif issubclass(kind, Parameters):
            arguments[name], params = params, Parameters()
        elif name not in inputs:
            raise CMFError(f"the input {name!r} is missing: add {name}=<path> to the command line")
        else:
            arguments[name] = kind(inputs.pop(name))
    for what, left in (("--ctx", context), ("--params", params), ("input", inputs)):
        if left:
            raise CMFError(f"{getattr(step_fn, '__name__', 'the step')} takes no {what} {', '.join(left)}")
    step_fn(**arguments)


def prepare_workspace(ctx: Context) -> Path:
    """Makes the folder `ctx["workspace"]` (`workspace` in the current one) and returns it."""
    workspace = Path(ctx.get("workspace", Path.cwd() / "workspace"))
    workspace.mkdir(parents=True, exist_ok=True)
    return workspace


def _annotations(function: Callable[..., Any]) -> dict[str, type]:
    kinds = typing.get_type_hints(inspect.unwrap(function))
    found = {}
    for name in inspect.signature(function).parameters:
        kind = kinds.get(name)
        if not (isinstance(kind, type) and issubclass(kind, (Context, Parameters, Dataset, MLModel, MLModelCard))):
            raise CMFError(f"the parameter {name!r} must be annotated as Context, Parameters, Dataset, MLModel or MLModelCard")
        found[name] = kind
    return found


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in filter(None, texts):
        name, mark, value = text.partition("=")
        if not mark:
            raise CMFError(f"{text!r} is not name=value")
        pairs[name.strip()] = value.strip()
    return pairs


def _only(bound: Mapping[str, Any], kind: type) -> Any:
    found = [value for value in bound.values() if isinstance(value, kind)]
    if len(found) > 1:
        raise CMFError(f"a step takes one {kind.__name__}, not {len(found)}")
    return found[0] if found else None


def _is_set(name: str) -> bool:
    return os.environ.get(name, "false").lower() == "true"


def _log(cmf: Cmf, event: str, artifacts: Mapping[str, Any]) -> None:
    if not isinstance(artifacts, Mapping):
        raise CMFError(f"a step returns None or a dict of artifacts, not {type(artifacts).__name__}")
    for name, artifact in artifacts.items():
        if isinstance(artifact, MLModel):
            props = dict(artifact.params)
            named = {key: props.pop(key) for key in ("model_framework", "model_type", "model_name") if key in props}
            cmf.log_model(artifact.uri, event, **named, custom_properties=props)
        elif isinstance(artifact, ExecutionMetrics):
            cmf.log_execution_metrics(artifact.name, artifact.params)
        elif isinstance(artifact, Artifact):
            cmf.log_dataset(artifact.uri, event, artifact.params)
        else:
            raise CMFError(f"{name!r} is no artifact but {type(artifact).__name__}")

"""An adapter as an MLflow model. Loaded only where MLflow is; no torch."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import mlflow.pyfunc
from mlflow.models import Model as MlflowModel
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

import pathsynth
from pathsynth.config.shipped import assets_folder
from pathsynth.tracking.outbox import Model

_PACKAGE = Path(pathsynth.__file__).parent
_SIGNATURE = ModelSignature(Schema([ColSpec("string", "prompt"), ColSpec("long", "seed", required=False)]), Schema([ColSpec("string")]))


def save_model(model: Model, folder: Path) -> None:
    """Write an adapter with its recipe as an MLflow model into a new folder; ``served_adapter.py`` is its code.

    A base that is shipped with the program is named so that it is found wherever the program is installed.
    """
    base, shipped = Path(model.base), assets_folder().parent
    place = f"pathsynth:{base.relative_to(shipped)}" if base.is_relative_to(shipped) else model.base
    recipe = folder.with_name("recipe.json")
    recipe.write_text(json.dumps({**asdict(model), "base": place, "source": ""}, indent=2), encoding="utf-8")
    mlflow.pyfunc.save_model(
        str(folder),
        python_model=str(_PACKAGE / "tracking" / "served_adapter.py"),
        artifacts={"adapter": model.source, "recipe": str(recipe)},
        pip_requirements=[f"pathsynth=={pathsynth.__version__}"],
        signature=_SIGNATURE,
    )
    _forget_places(folder)


def _forget_places(folder: Path) -> None:
    """Remove MLflow's note of the place on this disk from which the files came; no reader needs it."""
    saved = MlflowModel.load(str(folder))
    for artifact in saved.flavors["python_function"]["artifacts"].values():
        artifact["uri"] = artifact["path"]
    saved.save(str(folder / "MLmodel"))

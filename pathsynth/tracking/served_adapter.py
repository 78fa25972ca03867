"""The code of an adapter's MLflow model: loaded back or served, it draws the images of prompts and seeds.

MLflow keeps a copy of this file with the model and runs it to load the model, as models from code are.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from PIL import Image

import pathsynth
from pathsynth.config import SamplingConfig
from pathsynth.models.base import load_base
from pathsynth.models.lora import load_adapter
from pathsynth.sampling.draw import drawer
from pathsynth.sampling.slots import Attempt, Slot, Stream


class AdapterModel(mlflow.pyfunc.PythonModel):
    """Draws an image for each row of ``prompt`` and ``seed`` (a row's number where there is none); answers with PNG files in base64.

    No gate looks at them: they are first attempts, with the denoising steps and the guidance of the trial.
    """

    def load_context(self, context: Any) -> None:
        """Load base and adapter by the model's recipe."""
        recipe = json.loads(Path(context.artifacts["recipe"]).read_text(encoding="utf-8"))
        source = recipe["base"].replace("pathsynth:", f"{Path(pathsynth.__file__).parent}/")
        base = load_base(source, recipe["revision"], recipe["identity"], recipe["canvas"], recipe["size"])
        load_adapter(Path(context.artifacts["adapter"]), base)
        self._draw = drawer(base, recipe["size"], SamplingConfig.model_validate(recipe["sampling"]))

    def predict(self, context, model_input, params=None):  # MLflow takes types here for those of a request
        """Base64 of a PNG file for each row; empty where the image was not finite."""
        rows = pd.DataFrame(model_input)
        seeds = rows["seed"] if "seed" in rows else range(len(rows))
        requests = enumerate(zip(rows["prompt"], seeds, strict=True))
        images = self._draw([Attempt(Slot(Stream.GENERATE, 0, index, str(prompt)), 0, int(seed)) for index, (prompt, seed) in requests])
        return ["" if image is None else _png(image) for image in images]


def _png(image: Any) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


mlflow.models.set_model(AdapterModel())

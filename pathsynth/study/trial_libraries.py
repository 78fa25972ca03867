"""What a trial loads, whatever it is asked for: a server that forks trials has loaded all of it before.

A trial that needs a module more loads it itself, as it does the user's own.
"""

import diffusers.guiders
import fastjsonschema
import pyarrow.parquet
import torch.utils.checkpoint

import pathsynth.study.pipeline

__all__ = ["diffusers", "fastjsonschema", "pathsynth", "pyarrow", "torch"]

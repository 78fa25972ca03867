"""What every trial loads: a server that forks trials has loaded all of it before.

A trial that needs a module more loads it itself, as it does the user's own.
"""

import diffusers.guiders
import fastjsonschema
import pyarrow.parquet
import torch.utils.checkpoint

import pathsynth.data.catalogue
import pathsynth.data.custom_data
import pathsynth.data.dataset
import pathsynth.data.survey
import pathsynth.evaluation.classifier_scores
import pathsynth.evaluation.image_sheets
import pathsynth.evaluation.judged_images
import pathsynth.evaluation.panel_scores
import pathsynth.evaluation.trial_scores
import pathsynth.models.base
import pathsynth.models.image_classifier
import pathsynth.models.lora
import pathsynth.pretraining.pretrain
import pathsynth.sampling.draw
import pathsynth.sampling.early_rejection
import pathsynth.sampling.gate
import pathsynth.sampling.generation
import pathsynth.sampling.image_set
import pathsynth.studies.execution.pipeline
import pathsynth.terminal.work_line
import pathsynth.tracking.loggers
import pathsynth.tracking.media
import pathsynth.tracking.outbox
import pathsynth.training.callbacks
import pathsynth.training.finetune
import pathsynth.training.latent_cache
import pathsynth.training.progress
import pathsynth.training.regeneration
import pathsynth.training.train_classifier

__all__ = ["diffusers", "fastjsonschema", "pathsynth", "pyarrow", "torch"]

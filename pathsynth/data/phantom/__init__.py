"""The phantom: procedural H&E images of the nine colorectal tissue types.

Each tissue is a map of hematoxylin and of eosin, drawn in field-of-view units, that light passes through (Beer-Lambert).
Stain strength and hue, haze, illumination, sharpness, texture, tears, folds and specks vary alike in all classes, so colour alone
does not give a class away; its structure does. Mean colours and contrasts are near those of PathMNIST, and what tells the classes
apart is at least two pixels wide at 32 px, so that it survives a lossy autoencoder. Image ``i`` of a split is a pure function of
(generator version, seed, split, i, label, size).
"""

from pathsynth.data.phantom.exposure import EOSIN, HEMATOXYLIN
from pathsynth.data.phantom.images import GENERATOR_VERSION, Phantom, phantom_data, phantom_identity, render

__all__ = ["EOSIN", "GENERATOR_VERSION", "HEMATOXYLIN", "Phantom", "phantom_data", "phantom_identity", "render"]

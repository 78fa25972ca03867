"""Data: the procedural phantom, PathMNIST, and what is done to images before a model sees them."""

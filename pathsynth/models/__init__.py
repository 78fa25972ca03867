"""Networks: the base with its adapter, classifiers, the parts of the embedded base; how each is read and written."""

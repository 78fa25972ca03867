"""The live page: draw from a bundle, watch a study. The engine needs no NiceGUI; pages load it when they are served."""

"""Trials and studies: planned and supervised without torch, run in processes of their own."""

"""Procedural scenes with ground truth, and the layouts of data sets that people already have."""

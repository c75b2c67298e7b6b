"""The method in plain PyTorch: no files, no recipes, no command line."""

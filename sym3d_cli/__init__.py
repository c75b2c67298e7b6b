"""The sym3d command line: parse, call a stage, print."""

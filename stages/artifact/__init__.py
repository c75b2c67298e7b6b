"""The files that sym3d writes: HDF5 artifacts with a schema, a digest and a provenance."""

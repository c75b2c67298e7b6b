"""The rasteriser: a z-buffer only decides which triangle a pixel sees; depth and gradients follow from its plane."""

from stages.core.raster.api import available_backends, cover, grid_faces, plane_depth, rasterise_depth

__all__ = ["available_backends", "cover", "grid_faces", "plane_depth", "rasterise_depth"]

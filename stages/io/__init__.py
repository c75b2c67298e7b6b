"""The outside world's files: images, meshes, video, foreign checkpoints, perceptual weights."""

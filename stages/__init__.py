"""From photographs of a kind of thing to its 3D shape: one module per stage."""

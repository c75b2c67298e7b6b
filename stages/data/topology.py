"""What can be said of a triangle mesh from its faces alone."""

import numpy as np

__all__ = ["MAX_CORNERS", "close_holes", "corner_lists"]

MAX_CORNERS = 64  # triangles that may meet in one vertex


def close_holes(faces: np.ndarray, vertices: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Triangles (G, 3) that close every hole of a mesh (F, 3) with a fan to a new vertex in its middle, and the rims.

    The new vertices are numbered from `vertices`, one for each rim: an ascending array of the vertices around a hole.
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    _, first, count = np.unique(np.sort(edges, 1) @ np.array([vertices, 1]), return_index=True, return_counts=True)
    border = edges[first[count == 1]]
    root: dict[int, int] = {}

    def find(vertex: int) -> int:
        while (above := root.setdefault(vertex, vertex)) != vertex:
            root[vertex] = vertex = root[above]
        return vertex

    for a, b in border.tolist():
        root[find(a)] = find(b)
    names, hole = np.unique([find(a) for a in border[:, 0].tolist()], return_inverse=True)
    caps = np.stack([border[:, 1], border[:, 0], vertices + hole], 1)
    return caps, [np.unique(border[hole == i]) for i in range(len(names))]


def corner_lists(faces: np.ndarray, vertices: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Vertices and, for each, a face (F, 3) that it is a corner of: in the first pair one of each vertex, in the second
    another of those that have two, and so on. In no pair is a vertex named twice.

    Raises ValueError when more than MAX_CORNERS meet in one.
    """
    corners = faces.reshape(-1)
    count = np.bincount(corners, minlength=vertices)
    if count.max() > MAX_CORNERS:
        raise ValueError(f"has more than {MAX_CORNERS} triangles that meet in vertex {count.argmax()}")
    order = np.argsort(corners, kind="stable")
    turn = np.arange(len(corners)) - np.repeat(np.cumsum(count) - count, count)
    places = (order[turn == i] for i in range(count.max()))
    return [(corners[place], place // 3) for place in places]

"""Places as cells: a quadtree over the sphere, its cells as a table, and a classifier's labels and losses."""

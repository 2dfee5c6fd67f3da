"""A job's newest state and offsets, and whether a new graph can take them."""

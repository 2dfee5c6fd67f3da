"""What a job leaves for its successor: its newest state and offsets, and whether a new graph can take them."""

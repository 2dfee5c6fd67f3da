"""The streaming jobs, one file each; `shared` has code that several of them use."""

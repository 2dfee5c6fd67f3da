"""The streaming jobs, one file each; what several of them use lies in `shared`."""

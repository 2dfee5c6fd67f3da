"""Code that several jobs use."""

"""The seam between the two processes."""

"""The HTTP process: no device, no graph."""

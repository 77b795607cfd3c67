"""The device process: no HTTP but a metrics and probe port."""

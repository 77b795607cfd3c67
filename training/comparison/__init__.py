"""The five families compared: the same figures by the same code, from the exported graphs alone."""

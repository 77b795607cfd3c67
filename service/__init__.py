"""Everything that runs online; no training code."""

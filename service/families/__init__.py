"""One folder per family: a small pipeline per operation, one session per kind."""

"""`python -m service`: reads Settings, wires the rooms together; the composition root."""

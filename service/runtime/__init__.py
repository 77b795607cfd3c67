"""Loads graphs into inference engines; the only room that imports them."""

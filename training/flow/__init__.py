"""Normalizing flows: a neural spline flow for tables, a multi-scale coupling flow for images."""

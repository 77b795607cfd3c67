"""`make bench`: load generator, limits and figures; prints the tables that the README quotes."""

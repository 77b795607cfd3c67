"""Attacks on a service in a process of its own: what each costs, as one table. `python -m tests.attack`."""

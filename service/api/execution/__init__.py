"""A request on its way through the queue: request -> jobs -> outcome."""

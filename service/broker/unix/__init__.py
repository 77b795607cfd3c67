"""The queue of one machine: it lives in the API's process, and worker processes reach it over a Unix socket."""

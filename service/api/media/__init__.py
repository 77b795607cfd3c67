"""Bytes <-> values: request bodies, negotiation, response bodies, problem documents."""

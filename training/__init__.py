"""Offline: fetch data, train, measure, export, publish. PyTorch lives here."""

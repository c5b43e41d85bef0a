"""Frozen values that rules, storage, pages and API share; no module here reads a clock, a database or a network."""

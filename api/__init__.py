"""Speaks HTTP, and starts processes."""

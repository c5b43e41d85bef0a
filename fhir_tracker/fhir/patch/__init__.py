"""Changing parts of a resource: JSON Patch and FHIRPath Patch, both pure."""

"""The part of fhir-tracker that decides and remembers; import its modules by name."""

__version__ = "0.1.0"

"""The commands of `fhir-tracker`, one module a group; each has `register(subparsers)` and what it runs."""

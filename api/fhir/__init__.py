"""The FHIR R4 REST API: one table of routes, one way in, one way out."""

"""Carries data in from and out to FHIR servers."""

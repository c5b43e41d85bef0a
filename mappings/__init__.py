"""Two-way translations between an EHR's FHIR and the tracker's; pure."""

"""What FHIR R4 says: bodies, definitions, dates, references, search values and checks, all pure."""

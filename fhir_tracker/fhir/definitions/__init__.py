"""Tables generated from the official FHIR R4 4.0.1 definitions by tools/generate_definitions.py (licence CC0-1.0)."""

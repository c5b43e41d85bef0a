"""The invariants of R4: rules in FHIRPath from the official definitions, compiled into functions over parsed JSON."""

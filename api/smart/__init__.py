"""SMART: our API as a resource server with tokens of its own, and our pages as an app that EHRs launch."""

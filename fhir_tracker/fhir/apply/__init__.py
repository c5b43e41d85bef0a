"""Definitions made into requests for one subject: `$apply` of PlanDefinition and ActivityDefinition, without storing anything."""

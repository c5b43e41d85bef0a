"""Profiles of US Core that a resource can be checked against, from tables made of the published definitions."""

"""Voiceprints: enrolled, verified, identified, forgotten. Nothing in this room imports torch."""

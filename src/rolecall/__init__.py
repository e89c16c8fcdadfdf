"""Rolecall calls local models by role."""

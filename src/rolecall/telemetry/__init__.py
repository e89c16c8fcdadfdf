"""Telemetry: what each turn decided, called and took, under its trace id. Stays on disk here."""

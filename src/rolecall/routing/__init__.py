"""Routing: who answers. Strategies share one interface and produce one decision JSON."""

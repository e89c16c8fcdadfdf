"""Responses semantics over any runner: typed items, conversations continued by an id."""

"""The flows: ``state`` is what a run carries, ``assistant`` is the graph."""

"""Threads: the conversations, saved at every step, resumable, searchable."""

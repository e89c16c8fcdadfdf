"""Memory: what a thread still knows of turns that have left the models' window."""

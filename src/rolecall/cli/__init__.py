"""The command line. ``main`` holds the commands; each module beside it one noun."""

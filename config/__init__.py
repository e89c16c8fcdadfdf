"""Configuration: ``schema`` says what may stand in a file, ``load`` reads it."""

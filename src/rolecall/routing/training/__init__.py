"""Training the encoder strategy: head and calibration (scikit-learn), the encoder (PyTorch)."""

"""The encoder strategy: a small sentence encoder on ONNX Runtime and a calibrated linear head."""

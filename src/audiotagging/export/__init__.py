"""Writes a trained ensemble for other programs: as ONNX, with a model card. It needs torch; no stage imports it."""

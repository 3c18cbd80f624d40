"""An ONNX bundle behind HTTP: FastAPI in front, ONNX Runtime behind, and no torch in the process."""

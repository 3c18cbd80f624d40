"""HTTP service for ONNX bundles with FastAPI and ONNX Runtime, without torch."""

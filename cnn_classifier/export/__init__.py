"""Export of checkpoints to ONNX, PyTorch and safetensors bundles, with parity checks."""

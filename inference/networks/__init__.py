"""The members' networks: batches of crops, what runs them (ONNX Runtime or PyTorch), and their export as ONNX."""

"""What an analyst starts on top of inference: a server, a comparison of two clips, a queue for a reviewer."""

"""What is fitted after training and gated before use: precision, confidence, latency budget."""

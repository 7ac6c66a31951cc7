"""Output: records, MRD images, ZeroMQ messages, figures."""

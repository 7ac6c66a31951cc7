"""What goes out: records, MRD images, ZeroMQ messages, pictures."""

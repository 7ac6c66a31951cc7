"""The network: architecture, engines, weights, synthetic training images, training and evaluation."""

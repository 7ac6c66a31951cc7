"""Ways to run the network, behind one small interface."""

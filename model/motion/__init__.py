"""Motion correction of the images of one slice, driven by the signal model of their map."""

"""What runs beside the scanner: the stream, map fitting, contours, values, and what goes back."""

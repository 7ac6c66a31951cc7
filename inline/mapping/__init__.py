"""T1 and T2 maps from weighted images: least-squares fits of every pixel at once."""

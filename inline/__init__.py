"""What runs beside the scanner: the stream, map fitting, contours, values, and what goes back."""

import os

# The threads of an operation wait for each other hundreds of times in a fit. By default they spin meanwhile;
# where the cores have other work too, as beside a reconstruction, a fit then takes seconds in place of tens
# of milliseconds. torch reads this when it is loaded, which nothing does before this.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

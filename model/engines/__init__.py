"""Ways to run the network, behind one small interface."""

import sys

# OpenVINO and NNCF report their use over the network, and take a missing consent for consent. Nothing does so
# beside a scanner; without this package both go on in silence.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

"""Engines that run the network, behind one interface."""

import sys

# OpenVINO and NNCF report their use over the network by default. Without this package they do not.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

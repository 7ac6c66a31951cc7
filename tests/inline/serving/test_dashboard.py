"""Dashboard and alerts: their queries name metrics that exist, and work in a real Prometheus."""

import json
import math
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from inline.contouring.confidence import SIGNALS, Calibration, Reviewer
from inline.dicom.node.health import Pulse
from inline.dicom.node.metrics import NodeMetrics
from inline.dicom.node.spool import Backlog, Spool
from inline.pipeline import Stage
from inline.replay.client import exchange
from inline.serving.health import Checkup, State
from inline.serving.metrics import Metrics
from inline.serving.supervision import supervision
from inline.settings import MonitorSettings
from tests.inline.conftest import wait_until
from tests.shapes import RingEngine

DOCS = Path(__file__).parents[3] / "docs"
TOKEN = "0123456789abcdef"
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
ALERTS = re.findall(r"^ +expr: (.+)$", (DOCS / "alerts.yml").read_text(encoding="utf-8"), re.MULTILINE)


def queries():
    panels = json.loads((DOCS / "grafana.json").read_text(encoding="utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


@pytest.fixture(scope="module")
def names(serving, tmp_path_factory):
    """Names of all samples that a server or a DICOM node offers."""
    metrics = Metrics(Checkup())
    with serving() as server:
        metrics._checkup.server = server
        families = list(text_string_to_metric_families(metrics.text().decode()))
    spool = Spool(tmp_path_factory.mktemp("spool"), 1 << 30, 0, 0.0)
    node = SimpleNamespace(
        spool=spool, engine=RingEngine(), state=State(listening=True), stopping=False, pulse=Pulse(),
        destinations=("archive",), in_work=(), backlog=lambda: Backlog(0, 0, (), 0, {}, {}, 0),
    )  # fmt: skip
    metrics = NodeMetrics()
    metrics.node = node
    families += text_string_to_metric_families(metrics.text().decode())
    spool.close()
    return {sample.name for family in families for sample in family.samples}, families


@pytest.mark.parametrize("asked", [queries(), ALERTS], ids=["dashboard", "alerts"])
def test_every_query_names_metrics_that_exist(names, asked):
    used = {name for query in asked for name in re.findall(r"\b(?:myostream|process)_\w+", query)}
    assert used
    assert used <= names[0]


def test_the_page_lists_every_metric(names):
    page = (DOCS / "monitoring.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`(myostream_\w+)", page))
    offered = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in names[1]
        if family.name.startswith("myostream_") and not family.name.endswith("_created")
    }
    assert listed == offered


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (package prometheus)")
@pytest.mark.parametrize(
    ("what", "file"),
    [("check", DOCS / "alerts.yml"), ("test", Path(__file__).with_name("alerts_test.yml"))],
    ids=["check", "test"],
)
def test_prometheus_takes_the_alerts_and_they_fire_when_they_should(what, file):
    done = subprocess.run(
        [PROMTOOL, what, "rules", file.name], cwd=file.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_explains_every_alert_and_each_is_tested():
    alerts = set(re.findall(r"- alert: (\w+)", (DOCS / "alerts.yml").read_text(encoding="utf-8")))
    page = (DOCS / "monitoring.md").read_text(encoding="utf-8")
    tests = Path(__file__).with_name("alerts_test.yml").read_text(encoding="utf-8")
    assert alerts
    assert alerts == set(re.findall(r"^\| `(\w+)` ", page.partition("| alert |")[2], re.MULTILINE))
    assert alerts <= set(re.findall(r"- alertname: (\w+)", tests))


def test_every_stage_is_explained():
    row = re.search(r"^\| `times_ms` .*$", (DOCS / "stream.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(Stage) == set(re.findall(r"`(\w+)`", row[0])) - {"times_ms"}


def ask(address, path, **parameters):
    url = f"http://{address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=10) as reply:
        return json.loads(reply.read())["data"]


def values(address, query):
    """Values of a query as the dashboard asks it; those that are no numbers are left out."""
    expression = query.replace("$__rate_interval", "30s").replace("$job", "myostream")
    found = [float(each["value"][1]) for each in ask(address, "query", query=expression)["result"]]
    return [value for value in found if math.isfinite(value)]


def is_up(address):
    try:
        return [each["health"] for each in ask(address, "targets")["activeTargets"]] == ["up"]
    except OSError:
        return False


@contextmanager
def prometheus(target, folder):
    """A real Prometheus that scrapes a target; returns its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 300ms}\n"
        "scrape_configs:\n"
        "- job_name: myostream\n"
        f"  authorization: {{credentials: {TOKEN}}}\n"
        f"  static_configs: [{{targets: ['{target[0]}:{target[1]}']}}]\n"
    )
    files = (f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}")
    command = [PROMETHEUS, *files, f"--web.listen-address={address}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: is_up(address))
            yield address
        finally:
            process.terminate()


@pytest.mark.slow
@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")
def test_every_query_returns_data_in_a_real_prometheus(serving, examination, tmp_path):
    _, header, images = examination
    n = len(SIGNALS)
    flat = Calibration("w", (0.0,) * n, (1.0,) * n, (0.0,) * n, 0.0, (0.0,), (0.85,))
    with (
        supervision(MonitorSettings(port=0, token=TOKEN), {}) as supervised,
        serving(observers=supervised.observers, reviewer=Reviewer(flat)) as server,
        prometheus(supervised.address, tmp_path) as address,
    ):
        supervised.begin(server)
        for _ in range(3):
            exchange(server.address, header, images)
            time.sleep(0.7)
        # No slice is late here.
        asked = [query for query in queries() if "latecomer_seconds" not in query]
        wait_until(lambda: all(values(address, query) for query in asked))
        # The last scrape may be older than the last result.
        wait_until(lambda: values(address, "myostream_images_received_total") == [3.0 * len(images)])
        wait_until(lambda: values(address, "myostream_images_returned_total") == [3.0 * len(images)])
        assert values(address, "myostream_images_lost_total") == [0.0]
        wait_until(lambda: values(address, "sum(myostream_results_total)") == [12.0])

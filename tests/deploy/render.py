"""Renders a chart with Helm's own engine: CHART on the command line, values as JSON on stdin.

Prints {"templates": {name: text}} or {"error": why}, and with --lint what Helm's lint says.
"""

import json
import sys

from helm_python.chart import Chart, lint
from helm_python.errors import HelmError

chart = sys.argv[1]
if "--lint" in sys.argv:
    json.dump(lint(chart), sys.stdout)
    sys.exit()
try:
    with Chart.load(chart) as loaded:
        rendered = loaded.render(json.load(sys.stdin), name="demo", namespace="production")
    json.dump({"templates": rendered}, sys.stdout)
except HelmError as error:
    json.dump({"error": str(error)}, sys.stdout)

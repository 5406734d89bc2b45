"""A small Flask shop, instrumented with prometheus-flask-exporter, to be watched and slowed down.

Runs under gunicorn with several workers (multiprocess mode). The file named by DEMO_SLOWDOWN_FILE holds
the milliseconds that /api/checkout is slowed down by; the workers read it at every request, so that one
write slows them all down.
"""

import os
import random
import time

from flask import Flask, jsonify
from prometheus_flask_exporter.multiprocess import GunicornInternalPrometheusMetrics

app = Flask(__name__)
metrics = GunicornInternalPrometheusMetrics(app, group_by="endpoint")
metrics.info("demo_app_info", "The demo's Flask app", version="1.0")

SLOWDOWN_FILE = os.environ.get("DEMO_SLOWDOWN_FILE", "")


def slowdown_seconds():
    try:
        with open(SLOWDOWN_FILE, encoding="ascii") as f:
            return float(f.read() or 0) / 1000
    except (OSError, ValueError):
        return 0.0


def work(mean_ms, sd_ms):
    time.sleep(max(0.001, random.gauss(mean_ms, sd_ms) / 1000))


@app.get("/")
def index():
    return "shop\n"


@app.get("/api/items")
def items():
    work(8, 1)
    return jsonify(items=["tea", "cup"])


@app.get("/api/checkout")
def checkout():
    work(40, 6)
    time.sleep(slowdown_seconds())
    return jsonify(ok=True)

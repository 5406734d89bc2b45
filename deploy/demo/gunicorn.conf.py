"""gunicorn's part of the multiprocess metrics: a worker that ends takes its live gauges with it."""

from prometheus_flask_exporter.multiprocess import GunicornInternalPrometheusMetrics

workers = 2
worker_class = "gthread"
threads = 8
accesslog = None
loglevel = "warning"


def child_exit(server, worker):
    GunicornInternalPrometheusMetrics.mark_process_dead_on_child_exit(worker.pid)

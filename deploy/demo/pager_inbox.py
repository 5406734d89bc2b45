"""A pager's inbox: takes webhooks on any path, remembers who got what and when.

    python pager_inbox.py PORT

POST /NAME          a notification for NAME (answers 200)
GET  /              everything received so far, as JSON, oldest first
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

received = []
lock = threading.Lock()
MAX_BODY = 4 << 20


class Inbox(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        arrived = time.time()
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), MAX_BODY))
        try:
            message = json.loads(body or b"null")
        except ValueError:
            message = {"unreadable": body.decode("latin-1")}
        with lock:
            received.append(
                {
                    "to": self.path.strip("/"),
                    "at": arrived,
                    "key": self.headers.get("Idempotency-Key"),
                    "headers": dict(self.headers.items()),
                    "message": message,
                }
            )
        self.answer(200, b"ok\n", "text/plain")

    def do_GET(self):
        with lock:
            body = json.dumps(received).encode()
        self.answer(200, body, "application/json")

    def answer(self, status, body, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Inbox).serve_forever()

"""A receiver of notifications: a real server that keeps what is posted to it."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer

from helpers.background import running


class Server(HTTPServer):
    """Answers with the given statuses in turn, the last one for ever, and keeps what was posted."""

    def __init__(self, *statuses):
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses, self.posted = list(statuses), []
        self.url = f"http://127.0.0.1:{self.server_port}/hooks/a-secret?token=b-secret"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.path, self.headers["Content-Type"], json.loads(body)))
        statuses = self.server.statuses
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        if status:
            self.send_response(status)
            self.end_headers()
        else:
            self.close_connection = True  # without an answer

    def log_message(self, *_):
        pass


def receiver(*statuses):
    """Provide a server that answers with these statuses, for a block."""
    return running(Server(*statuses))

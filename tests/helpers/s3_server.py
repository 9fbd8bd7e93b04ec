"""An S3 server on this machine, which can be told to misbehave: moto's, with its own idea of what S3 answers."""

import logging
import threading
import urllib.request

import boto3
from moto import settings
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server


class S3Server:
    """The server.

    Attributes:
        url: Where it is.
        client: boto3's client of it.
        requests: Method and path of all requests but the client's own.
        tampered: Functions of the body by path, which change what a GET request of it brings.
    """

    def __init__(self):
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self.requests, self.tampered = [], {}
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        self.client = boto3.client("s3", endpoint_url=self.url, **keys)
        self.reset()

    def reset(self):
        """Forget everything, and take everybody in."""
        settings.INITIAL_NO_AUTH_ACTION_COUNT = float("inf")
        urllib.request.urlopen(f"{self.url}/moto-api/reset", data=b"").close()
        self.requests.clear()
        self.tampered.clear()
        self.client.create_bucket(Bucket="bucket")

    def shut(self):
        """Take nobody in from now on."""
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0.0

    def put(self, folder, prefix, bucket="bucket"):
        """Put a folder's files below a prefix."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.client.put_object(
                    Bucket=bucket, Key=f"{prefix}/{path.relative_to(folder).as_posix()}", Body=path.read_bytes()
                )

    def files(self, prefix="", bucket="bucket"):
        """Return the content of the objects below a prefix, by key."""
        found = self.client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        return {each["Key"]: self.client.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in found}

    def close(self):
        self._server.shutdown()

    def _answer(self, environ, start_response):
        path = environ["PATH_INFO"].encode("latin-1").decode()  # as WSGI wants it
        if "Boto3" not in environ.get("HTTP_USER_AGENT", ""):
            self.requests.append(f"{environ['REQUEST_METHOD']} {path}")
        if not settings.INITIAL_NO_AUTH_ACTION_COUNT and "HTTP_AUTHORIZATION" not in environ:  # which moto trips over
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]
        body = self._moto(environ, start_response)
        if environ["REQUEST_METHOD"] == "GET" and path in self.tampered:
            return [self.tampered[path](b"".join(body))]
        return body

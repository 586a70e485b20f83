"""A hub on this machine: it takes who asks, a repository and one commit, and keeps what it was sent."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Hub:
    """What a hub was sent.

    Args:
        address: Its address.
        created: The repositories that were asked for, as sent.
        files: The files of the commit, by name.
        refuses: Whether it refuses every commit.
    """

    address: str = ""
    created: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    refuses: bool = False


@contextmanager
def hub() -> Iterator[Hub]:
    """Serves a hub within the context."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != "Bearer hf_good":
                self._send({"error": "Invalid credentials"}, 401)
            elif "whoami" in self.path:
                self._send({"name": "owner", "type": "user", "orgs": [], "auth": {}})
            else:
                self._send({"id": "owner/name", "sha": "0" * 40, "siblings": [], "private": True})

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if "repos/create" in self.path:
                state.created.append(json.loads(content))
                self._send({"url": f"{state.address}/owner/name", "name": "owner/name"})
            elif "validate-yaml" in self.path:
                self._send({"errors": [], "warnings": []})
            elif "preupload" in self.path:
                files = [file["path"] for file in json.loads(content)["files"]]
                told = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in files]
                self._send({"files": told})
            elif "/commit/" in self.path and not state.refuses:
                for line in map(json.loads, content.splitlines()):
                    if line["key"] == "file":
                        state.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                self._send({"commitUrl": f"{state.address}/owner/name/commit/{'1' * 40}", "commitOid": "1" * 40})
            else:
                self._send({"error": "no room"}, 403)

        def _send(self, content: dict[str, Any], status: int = 200) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

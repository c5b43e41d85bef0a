"""An EHR from before smart-configuration: its CapabilityStatement alone says where people log in."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"


@contextmanager
def older_ehr() -> Iterator[str]:
    """Its FHIR base, while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_metadata = self.path.endswith("/metadata")
            body = json.dumps(statement(base) if is_metadata else {"resourceType": "OperationOutcome"}).encode()
            self.send_response(200 if is_metadata else 404)
            self.send_header("Content-Type", "application/fhir+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    base = f"http://127.0.0.1:{server.server_address[1]}/fhir"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield base
    finally:
        server.shutdown()
        thread.join(30)
        server.server_close()


def statement(base: str) -> dict[str, object]:
    """What it says of itself."""
    parts = [{"url": name, "valueUri": f"{base}/old/{name}"} for name in ("authorize", "token")]
    security = {"extension": [{"url": OAUTH_URIS, "extension": parts}]}
    return {
        "resourceType": "CapabilityStatement",
        "fhirVersion": "4.0.1",
        "rest": [{"mode": "server", "security": security}],
    }

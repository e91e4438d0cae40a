"""The latest poses of a camera as JSON at http://127.0.0.1:8000/, with the standard library alone.

usage: python examples/live_json.py [SOURCE] [PORT]   (`edgepose serve` is the grown-up version)
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from edgepose import EdgeposeError, PoseNet

latest = {"frame": None, "poses": []}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(latest).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(uri="test://people", port="8000"):
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    with PoseNet("fast") as net:
        for frame, poses in net.stream(uri):
            rows = [{k.name: [round(k.x), round(k.y)] for k in p.keypoints} for p in poses]
            latest.update(frame=frame.index, poses=rows)


if __name__ == "__main__":
    if sys.argv[1:2] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except EdgeposeError as error:
        sys.exit(str(error))

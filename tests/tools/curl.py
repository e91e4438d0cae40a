"""curl where there is no curl: the options of tools/download_models.sh on libcurl itself, with its exit codes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pycurl

SCHEMES = {"http": pycurl.PROTO_HTTP, "https": pycurl.PROTO_HTTPS, "file": pycurl.PROTO_FILE}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("fail", "location", "silent", "progress-bar"):
        parser.add_argument(f"--{name}", action="store_true")
    for name in ("user-agent", "proto", "proto-redir", "dump-header", "write-out", "output"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("max-filesize", "connect-timeout", "speed-limit", "speed-time"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--continue-at", choices=["-"])
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("address")
    return parser.parse_args()


def schemes(text: str) -> int:
    """ "=http,https" as libcurl has it."""
    return sum(SCHEMES[name] for name in text.lstrip("=").split(","))


class Target:
    """The file, which begins with the first byte that arrives."""

    def __init__(self, path: Path, goes_on: bool) -> None:
        self.path, self.mode, self.file = path, "ab" if goes_on else "wb", None

    def write(self, data: bytes) -> None:
        if self.file is None:
            self.file = self.path.open(self.mode)
        self.file.write(data)
        self.file.flush()


def main() -> int:
    given, code = options(), 0
    goes_on = given.continue_at == "-"
    curl, target = pycurl.Curl(), Target(Path(given.output), goes_on)
    curl.setopt(pycurl.URL, given.address)
    curl.setopt(pycurl.FAILONERROR, given.fail)
    curl.setopt(pycurl.FOLLOWLOCATION, given.location)
    curl.setopt(pycurl.USERAGENT, given.user_agent)
    curl.setopt(pycurl.HTTPHEADER, given.header)
    curl.setopt(pycurl.PROTOCOLS, schemes(given.proto))
    curl.setopt(pycurl.REDIR_PROTOCOLS, schemes(given.proto_redir))
    curl.setopt(pycurl.MAXFILESIZE_LARGE, given.max_filesize)
    curl.setopt(pycurl.CONNECTTIMEOUT, given.connect_timeout)
    curl.setopt(pycurl.LOW_SPEED_LIMIT, given.speed_limit)
    curl.setopt(pycurl.LOW_SPEED_TIME, given.speed_time)
    if goes_on:
        curl.setopt(pycurl.RESUME_FROM_LARGE, target.path.stat().st_size)
    with open(given.dump_header, "wb") as head:
        curl.setopt(pycurl.HEADERFUNCTION, head.write)
        curl.setopt(pycurl.WRITEFUNCTION, target.write)
        try:
            curl.perform()
        except pycurl.error as e:
            code = e.args[0]
    if not given.silent:
        print("#" * 72 + " 100.0%", file=sys.stderr)
    assert given.write_out == "%{http_code}"
    print(f"{curl.getinfo(pycurl.RESPONSE_CODE):03d}", end="")
    return code


sys.exit(main())

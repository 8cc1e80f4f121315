#!/usr/bin/env python3
"""The order of functions in the binary that ships: those that run stand together, those that do not are elsewhere.

A sidecar's memory is for the most part its own code, in pages that hold much that never runs, and at one call at
a time a good part of the call is the fetching of code. This watches two pairs of sidecars with mTLS under
callgrind, from their start over some calls of each kind to their end, and writes the names of all functions that
ran to outrigger/layout.txt, the busiest first. The build script hands the list to the linker.

Names hold hashes of the crates' versions and features: run it again when Cargo.lock or features have changed
(`just layout`). A name that is not in the binary does nothing.

    layout.py BINARY [OUTPUT]     BINARY must not be stripped
"""

import collections
import contextlib
import http.client
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

import bench_pair
from bench_pair import ROOT, Outrigger, certificates, free_port, start_origin, stop, wait_for

CALLS = 2000


class Watched(Outrigger):
    """Starts sidecars under callgrind; the authority is left alone."""

    def run(self, *command, **options):
        if command[1] == "daprd":
            profile = self.folder / f"callgrind.{len(self.processes)}"
            command = ("valgrind", "--tool=callgrind", "--demangle=no", "--compress-strings=no",
                       f"--callgrind-out-file={profile}", *command)
        return super().run(*command, **options)


def call(pair, calls):
    """Calls of both lengths through a pair, one after the other on one connection."""
    url = urllib.request.urlsplit(pair.url)
    connection = http.client.HTTPConnection(url.hostname, url.port)
    for number in range(calls):
        if number % 4 == 3:
            connection.request("POST", url.path, body=b"x" * 1024)
        else:
            connection.request("GET", url.path)
        answer = connection.getresponse()
        answer.read()
        if answer.status >= 400 and answer.status != 405:
            sys.exit(f"a call failed with {answer.status}")


def watch(folder, binary):
    """Runs the sidecars; the profiles are in the folder then."""
    with contextlib.ExitStack() as stack:
        certificates(folder)
        origin_port, grpc_port = free_port(), free_port()
        stack.callback(stop, start_origin(folder, origin_port, grpc_port))
        wait_for(f"http://127.0.0.1:{origin_port}/", "the origin")
        outrigger = Watched(folder, binary)
        stack.callback(outrigger.stop)
        outrigger.start_sentry()
        call(outrigger.pair("layout", "http", origin_port), CALLS)
        grpc = outrigger.pair("layout-grpc", "grpc", grpc_port)
        bench_pair.check_grpc(grpc, folder)
        # As most sidecars are started: nothing configured, found by the registry of the machine and multicast.
        plain = folder / "plain.yaml"
        plain.write_text("apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: plain}\n")
        sidecar = outrigger.start(outrigger.binary, "plain", plain, free_port())
        wait_for(f"http://127.0.0.1:{sidecar['http']}/v1.0/healthz", "the plain sidecar", 60)
        time.sleep(6)  # What an idle sidecar does now and then.


def costs(profile):
    """Instructions of each function itself."""
    found = collections.Counter()
    function, is_call = None, False
    for line in profile.read_text().splitlines():
        if line.startswith("fn="):
            function = re.sub(r"'\d+$", "", line[3:])
        elif line.startswith("calls="):
            is_call = True  # The next line is the cost of the callee.
        elif line and line[0] in "0123456789+-*" and function:
            if not is_call and len(cost := line.split()) > 1:
                found[function] += int(cost[1])
            is_call = False
    return found


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    binary = sys.argv[1]
    output = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "outrigger/layout.txt"
    symbols = subprocess.run(["nm", "--defined-only", binary], capture_output=True, text=True, check=True).stdout
    known = {fields[2] for line in symbols.splitlines() if len(fields := line.split()) == 3 and fields[1] in "tTwW"}
    if not known:
        sys.exit(f"{binary} has no symbols")
    with tempfile.TemporaryDirectory(prefix="outrigger-layout-") as name:
        folder = pathlib.Path(name)
        os.chmod(folder, 0o755)  # The workers of nginx are another user.
        watch(folder, binary)
        total = sum((costs(profile) for profile in folder.glob("callgrind.*")), collections.Counter())
    order = [function for function, _ in total.most_common() if function in known]
    output.write_text("\n".join(order) + "\n")
    print(f"{len(order)} functions of {len(known)} ran")


if __name__ == "__main__":
    main()

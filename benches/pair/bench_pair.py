#!/usr/bin/env python3
"""Cost of one call through a pair of proxies with mTLS between them: Outrigger beside nginx and haproxy.

    client ──HTTP/1.1──▶ near proxy ══mTLS══▶ far proxy ──HTTP/1.1──▶ origin
    client ──gRPC──────▶ caller     ══mTLS══▶ callee    ──gRPC──────▶ gRPC origin      (Outrigger only)

One run starts all pairs and the origins, then drives each shape of load through each pair in interleaved
rounds, so that every pair meets the same machine. wrk makes the HTTP load, h2load the gRPC load. It prints
medians of requests per second, p50, p99 and CPU per request of both proxies together (from /proc); the memory
of idle and of loaded pairs; and how long a sidecar takes from its start to its first good health check.

    bench_pair.py [--seconds 5] [--rounds 3] [--only outrigger,haproxy] [--shapes 'GET|gRPC'] [--markdown FILE]
"""

import argparse
import contextlib
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TICK = os.sysconf("SC_CLK_TCK")
MIB = 2**20

# ------------------------------------------------------------------------------------------------ shapes of load


@dataclass(frozen=True)
class Shape:
    """One kind of load. `streams` are calls at once on each connection, which only gRPC has."""

    name: str
    protocol: str
    connections: int
    streams: int = 1
    size: int = 0


SHAPES = [
    Shape("GET, 1 connection", "http", 1),
    Shape("GET, 32 connections", "http", 32),
    Shape("POST 1 KiB, 32 connections", "http", 32, size=1024),
    Shape("POST 64 KiB, 8 connections", "http", 8, size=64 * 1024),
    Shape("gRPC, 1 call at once", "grpc", 1),
    Shape("gRPC, 32 calls at once on 4 connections", "grpc", 4, streams=8),
    Shape("gRPC 1 KiB, 32 calls at once on 4 connections", "grpc", 4, streams=8, size=1024),
]


@dataclass
class Sample:
    """What one run of load showed."""

    rate: float
    p50: float
    p99: float
    errors: int
    requests: int
    cpu: float = 0.0


def drive_http(pair, shape, seconds, folder):
    """One run of wrk."""
    body = ""
    if shape.size:
        body = (f'wrk.method="POST" wrk.body=string.rep("x", {shape.size})\n'
                'wrk.headers["Content-Type"]="application/octet-stream"\n')
    return run_wrk(pair.url, body, shape.connections, seconds, folder)


def run_wrk(url, prelude, connections, seconds, folder):
    """One run of wrk, whose script begins with `prelude`."""
    script = folder / "wrk.lua"
    script.write_text(prelude + """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
""")
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "-s", str(script), url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", output)
    requests, micros, p50, p99, errors = map(int, match.groups())
    return Sample(requests / (micros / 1e6), p50, p99, errors, requests)


def drive_grpc(pair, shape, seconds, folder):
    """One run of h2load."""
    message = grpc_message(folder, shape.size)
    return run_h2load(pair.url, message, shape.connections, shape.streams, seconds, folder)


def run_h2load(url, message, connections, streams, seconds, folder):
    """One run of h2load; its log has a line a call: start, status, microseconds."""
    log = folder / "h2load.log"
    log.unlink(missing_ok=True)
    command = ["h2load", "-t", "1", "-c", str(connections), "-m", str(streams), "-D", str(seconds),
               "-d", str(message), "--log-file", str(log), *grpc_headers("-H"), url]
    subprocess.run(command, capture_output=True, text=True, check=True)
    calls = [line.split("\t") for line in log.read_text().splitlines()]
    times = sorted(int(micros) for _, status, micros in calls if status == "200")
    errors = len(calls) - len(times)
    at = lambda share: times[int((len(times) - 1) * share)] if times else 0
    return Sample(len(times) / seconds, at(0.5), at(0.99), errors, len(times))


def grpc_message(folder, size):
    """A gRPC message of some bytes: a flag, the length, the bytes."""
    path = folder / f"message-{size}"
    path.write_bytes(b"\0" + size.to_bytes(4, "big") + b"x" * size)
    return path


def grpc_headers(option):
    headers = ["content-type: application/grpc", "te: trailers", "dapr-app-id: callee"]
    return [word for header in headers for word in (option, header)]


def check_grpc(pair, folder):
    """Sees that a call comes back with status 0: h2load does not look at trailers."""
    command = ["nghttp", "-v", "-t", "20", "-d", str(grpc_message(folder, 5)), *grpc_headers("-H"), pair.url]
    output = subprocess.run(command, capture_output=True).stdout.decode(errors="replace")
    if "grpc-status: 0" not in output:
        sys.exit(f"a gRPC call through {pair.name} failed:\n{output}")


DRIVERS = {"http": drive_http, "grpc": drive_grpc}

# ------------------------------------------------------------------------------------------------ processes


@dataclass
class Memory:
    """Memory in MiB: resident, and the proportional share, which counts shared pages once."""

    rss: float = 0.0
    pss: float = 0.0

    def __add__(self, other):
        return Memory(self.rss + other.rss, self.pss + other.pss)

    def __str__(self):
        return f"{self.pss:.1f} MiB PSS, {self.rss:.1f} MiB RSS"


@dataclass
class Pair:
    """Two proxies: the near one takes plain calls, the far one forwards to the origin."""

    name: str
    protocol: str
    url: str
    version: str
    processes: list = field(default_factory=list)
    ready_url: str = ""

    def start(self, command, **options):
        self.processes.append(subprocess.Popen(command, **options))

    def pids(self):
        """The proxies' processes, workers included."""
        parents = {}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                parents[int(entry)] = int(stat_fields(entry)[1])
        found = {process.pid for process in self.processes}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found

    def cpu_seconds(self):
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = stat_fields(pid)
                total += int(fields[11]) + int(fields[12])
        return total / TICK

    def memory(self):
        return sum((memory_of(pid) for pid in self.pids()), Memory())

    def stop(self):
        for process in self.processes:
            stop(process)


def stat_fields(pid):
    """The fields of /proc/<pid>/stat after the name of the program: state, parent, and so on."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def memory_of(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return Memory()
    kib = {name: int(size) for name, size in re.findall(r"^(Rss|Pss): +(\d+) kB", text, re.MULTILINE)}
    return Memory(kib.get("Rss", 0) / 1024, kib.get("Pss", 0) / 1024)


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def copy_of(program, folder, name):
    """A copy of a program: processes that run it share no pages with those that run the original, so that the
    proportional memory of a pair is not made smaller by an origin or an authority beside it."""
    path = folder / name
    shutil.copy(shutil.which(program), path)
    return str(path)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url, what, seconds=20):
    """Waits until a GET of `url` is answered with a success."""
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError as error:
            if time.monotonic() > end:
                sys.exit(f"{what} did not become ready: {error}")
            time.sleep(0.02)


# ------------------------------------------------------------------------------------------------ origins, peers


def certificates(folder):
    """A CA and one leaf for nginx and haproxy, ECDSA P-256."""
    run = lambda *args: subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run("req", "-x509", *new_key, "-days", "2", "-subj", "/O=bench", "-keyout", "ca.key", "-out", "ca.crt")
    run("req", "-new", *new_key, "-subj", "/CN=peer", "-keyout", "peer.key", "-out", "peer.csr")
    (folder / "peer.ext").write_text("subjectAltName=DNS:peer\n")
    run("x509", "-req", "-in", "peer.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
        "-extfile", "peer.ext", "-out", "peer.crt")
    (folder / "peer.pem").write_text((folder / "peer.crt").read_text() + (folder / "peer.key").read_text())


def nginx(folder, name, servers, upstreams="", program="nginx"):
    config = folder / f"{name}.conf"
    config.write_text(f"""
worker_processes 2; pid {folder}/{name}.pid; error_log {folder}/{name}.log error; daemon off;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_buffer_size 128k;
  client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy;
  fastcgi_temp_path {folder}/x1; uwsgi_temp_path {folder}/x2; scgi_temp_path {folder}/x3;
  {upstreams}
  {servers}
}}
""")
    return [program, "-c", str(config), "-p", str(folder)]


def start_origin(folder, port, grpc_port):
    """The apps: the HTTP one answers with two bytes, the gRPC one with a message of two bytes and status 0."""
    files = folder / "grpc"
    files.mkdir()
    (files / "answer").write_bytes(b"\0\0\0\0\2ok")
    http = f"server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ return 200 ok; }} }}"
    # A file answers POSTs only by way of the page of error 405.
    grpc = f"""server {{ listen 127.0.0.1:{grpc_port} http2 backlog=1024; http2_max_concurrent_streams 1024;
      root {files}; default_type application/grpc; add_trailer grpc-status 0; error_page 405 =200 /answer;
      location / {{ rewrite ^ /answer break; }} }}"""
    program = copy_of("nginx", folder, "nginx-origin")
    return subprocess.Popen(nginx(folder, "origin", http + grpc, program=program), stderr=subprocess.DEVNULL)


def nginx_pair(folder, origin):
    near, far = free_port(), free_port()
    version = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.strip().split("/")[-1]
    pair = Pair("nginx", "http", f"http://127.0.0.1:{near}/neworder", version)
    keep = "keepalive 64; keepalive_requests 1000000000;"
    headers = 'proxy_http_version 1.1; proxy_set_header Connection "";'
    tls = f"{folder}/peer.crt", f"{folder}/peer.key", f"{folder}/ca.crt"
    pair.start(nginx(folder, "far", f"""server {{ listen 127.0.0.1:{far} ssl backlog=1024; ssl_protocols TLSv1.3;
      ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]}; ssl_client_certificate {tls[2]}; ssl_verify_client on;
      location / {{ proxy_pass http://app; {headers} }} }}""",
        f"upstream app {{ server 127.0.0.1:{origin}; {keep} }}"), stderr=subprocess.DEVNULL)
    pair.start(nginx(folder, "near", f"""server {{ listen 127.0.0.1:{near} backlog=1024;
      location / {{ proxy_pass https://peer; {headers} proxy_ssl_protocols TLSv1.3; proxy_ssl_name peer;
      proxy_ssl_certificate {tls[0]}; proxy_ssl_certificate_key {tls[1]};
      proxy_ssl_trusted_certificate {tls[2]}; proxy_ssl_verify on; }} }}""",
        f"upstream peer {{ server 127.0.0.1:{far}; {keep} }}"), stderr=subprocess.DEVNULL)
    return pair


def haproxy_pair(folder, origin):
    near, far = free_port(), free_port()
    version = subprocess.run(["haproxy", "-v"], capture_output=True, text=True).stdout.split()[2].split("-")[0]
    pair = Pair("haproxy", "http", f"http://127.0.0.1:{near}/neworder", version)
    common = """
global
  nbthread 2
  tune.bufsize 16384
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
"""
    far_config, near_config = folder / "haproxy-far.cfg", folder / "haproxy-near.cfg"
    far_config.write_text(f"""{common}
frontend peer
  bind 127.0.0.1:{far} ssl crt {folder}/peer.pem ca-file {folder}/ca.crt verify required ssl-min-ver TLSv1.3
  default_backend app
backend app
  server app 127.0.0.1:{origin} pool-max-conn 256
""")
    near_config.write_text(f"""{common}
frontend api
  bind 127.0.0.1:{near}
  default_backend peer
backend peer
  server peer 127.0.0.1:{far} ssl crt {folder}/peer.pem ca-file {folder}/ca.crt verify required sni str(peer) verifyhost peer pool-max-conn 256
""")
    for config in (far_config, near_config):
        pair.start(["haproxy", "-f", str(config)], stderr=subprocess.DEVNULL)
    return pair


# ------------------------------------------------------------------------------------------------ Outrigger


class Outrigger:
    """Starts sidecars, and the authority that gives them their identities."""

    def __init__(self, folder, binary):
        self.folder, self.binary = folder, binary
        self.log = open(folder / "outrigger.log", "a")
        self.processes = []
        version = subprocess.run([binary, "daprd", "--version"], capture_output=True, text=True).stdout
        self.version = version.strip() or "?"

    def start_sentry(self):
        self.sentry_port, health = free_port(), free_port()
        self.credentials = self.folder / "creds"
        self.credentials.mkdir()
        program = copy_of(self.binary, self.folder, "outrigger-sentry")
        self.run(program, "sentry", "--port", self.sentry_port, "--listen-address", "127.0.0.1",
                 "--healthz-port", health, "--metrics-port", free_port(), "--trust-domain", "localhost",
                 "--issuer-credentials", self.credentials, "--config", self.configuration(free_port()))
        wait_for(f"http://127.0.0.1:{health}/healthz", "sentry")

    def pair(self, name, protocol, origin):
        """Caller and callee; the caller finds the callee's port by a pattern, without multicast."""
        program = copy_of(self.binary, self.folder, name)
        internal = free_port()
        config = self.configuration(internal)
        app = ("--app-port", origin, "--app-protocol", protocol)
        callee = self.start_secured(program, "callee", config, internal, *app)
        caller = self.start_secured(program, "caller", config, free_port())
        if protocol == "grpc":
            url = f"http://127.0.0.1:{caller['grpc']}/bench.Orders/New"
        else:
            url = f"http://127.0.0.1:{caller['http']}/v1.0/invoke/callee/method/neworder"
        processes = [callee["process"], caller["process"]]
        ready = f"http://127.0.0.1:{caller['http']}/v1.0/healthz"
        return Pair(name, protocol, url, self.version, processes, ready)

    def start_secured(self, program, app_id, config, internal, *extra):
        anchors = (self.credentials / "ca.crt").read_text()
        sidecar = self.start(program, app_id, config, internal, *extra, "--enable-mtls",
                             "--sentry-address", f"127.0.0.1:{self.sentry_port}", anchors=anchors)
        wait_for(f"http://127.0.0.1:{sidecar['http']}/v1.0/healthz", app_id)
        return sidecar

    def start(self, program, app_id, config, internal, *extra, anchors=""):
        http, grpc = free_port(), free_port()
        process = self.run(program, "daprd", "--app-id", app_id, "--dapr-http-port", http, "--dapr-grpc-port", grpc,
                           "--dapr-internal-grpc-port", internal, "--metrics-port", free_port(),
                           "--dapr-listen-addresses", "127.0.0.1", "--config", config, "--log-level", "error",
                           *extra, env={**os.environ, "DAPR_TRUST_ANCHORS": anchors})
        return {"process": process, "http": http, "grpc": grpc}

    def configuration(self, port):
        path = self.folder / f"config-{port}.yaml"
        path.write_text(f"""apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: bench
spec:
  nameResolution:
    component: nameformat
    configuration:
      format: "{{appid}}.localhost:{port}"
""")
        return path

    def ready_times(self, runs=5):
        """Milliseconds from the start of a sidecar without mTLS to its first good health check."""
        config = self.configuration(free_port())
        times = []
        for _ in range(runs):
            begun = time.perf_counter()
            sidecar = self.start(self.binary, "ready", config, free_port())
            while not is_healthy(sidecar["http"]):
                if time.perf_counter() - begun > 20:
                    sys.exit("a sidecar did not become ready")
                time.sleep(0.0005)
            times.append((time.perf_counter() - begun) * 1e3)
            stop(sidecar["process"])
        return times

    def run(self, *command, **options):
        command = list(map(str, command))
        self.processes.append(subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT, **options))
        return self.processes[-1]

    def stop(self):
        for process in reversed(self.processes):
            stop(process)
        self.log.close()


def is_healthy(port):
    """Whether the health check answers 204."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"GET /v1.0/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 204")
    except OSError:
        return False


# ------------------------------------------------------------------------------------------------ measuring


def measure(pairs, shapes, options, folder):
    """Drives every shape through every pair that can carry it, pair after pair in each round."""
    results = {}
    for shape in shapes:
        able = [pair for pair in pairs if pair.protocol == shape.protocol]
        drive = DRIVERS[shape.protocol]
        for pair in able:
            drive(pair, shape, 1, folder)
        for _ in range(options.rounds):
            for pair in able:
                before = pair.cpu_seconds()
                sample = drive(pair, shape, options.seconds, folder)
                sample.cpu = (pair.cpu_seconds() - before) * 1e6 / max(sample.requests, 1)
                results.setdefault((shape.name, pair.name), []).append(sample)
                print(f"  {shape.name:46} {pair.name:14} {sample.rate:9.0f} req/s  p50 {sample.p50:6} us  "
                      f"p99 {sample.p99:6} us  cpu {sample.cpu:6.1f} us  errors {sample.errors}", file=sys.stderr)
    return results


def report(results, pairs, shapes, idle, outrigger, ready):
    lines = [machine(), "", "| shape | pair | requests/s | p50 us | p99 us | CPU us a request | errors |",
             "|---|---|--:|--:|--:|--:|--:|"]
    for shape in shapes:
        for pair in pairs:
            if samples := results.get((shape.name, pair.name)):
                middle = lambda column: statistics.median(getattr(sample, column) for sample in samples)
                errors = sum(sample.errors for sample in samples)
                lines.append(f"| {shape.name} | {pair.name} {pair.version} | {middle('rate'):,.0f} "
                             f"| {middle('p50'):.0f} | {middle('p99'):.0f} | {middle('cpu'):.1f} | {errors} |")
    lines += ["", "| memory of a pair | idle | after the load |", "|---|---|---|"]
    lines += [f"| {pair.name} | {idle[pair.name]} | {pair.memory()} |" for pair in pairs]
    if outrigger:
        size = os.path.getsize(outrigger.binary) / MIB
        sidecars = [idle[pair.name] for pair in pairs if pair.name.startswith("outrigger")]
        each = sum(memory.pss for memory in sidecars) / (2 * len(sidecars))
        lines += ["", f"One idle sidecar: {each:.1f} MiB PSS. Ready after {statistics.median(ready):.0f} ms "
                  f"({min(ready):.0f} to {max(ready):.0f}), without mTLS. Binary: {size:.1f} MiB."]
    return "\n".join(lines) + "\n"


def machine():
    model = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    model = model.group(1) if model else platform.machine()
    return f"{os.cpu_count()} cores of {model}, Linux {platform.release()}, {time.strftime('%Y-%m-%d')}."


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5, help="length of one run of load")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; the table shows medians")
    parser.add_argument("--only", default="nginx,haproxy,outrigger,outrigger-grpc", help="pairs to run")
    parser.add_argument("--shapes", default="", help="only shapes whose name this pattern matches")
    parser.add_argument("--binary", default=str(ROOT / "target/dist/outrigger"))
    parser.add_argument("--markdown", help="also write the tables to this file")
    options = parser.parse_args()
    for tool in ("wrk", "h2load", "nghttp", "nginx", "haproxy", "openssl"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing; `make bench-tools` installs it")
    chosen = options.only.split(",")
    shapes = [shape for shape in SHAPES if re.search(options.shapes, shape.name)]
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="outrigger-bench-")))
        os.chmod(folder, 0o755)  # The workers of nginx are another user.
        certificates(folder)
        http, grpc = free_port(), free_port()
        origin = start_origin(folder, http, grpc)
        stack.callback(stop, origin)
        wait_for(f"http://127.0.0.1:{http}/", "the origin")

        pairs, outrigger, ready = [], None, []

        def add(pair):
            stack.callback(pair.stop)
            wait_for(pair.ready_url or pair.url, pair.name)
            pairs.append(pair)

        if "nginx" in chosen:
            add(nginx_pair(folder, http))
        if "haproxy" in chosen:
            add(haproxy_pair(folder, http))
        if any(name.startswith("outrigger") for name in chosen):
            outrigger = Outrigger(folder, options.binary)
            stack.callback(outrigger.stop)
            ready = outrigger.ready_times()
            outrigger.start_sentry()
            if "outrigger" in chosen:
                add(outrigger.pair("outrigger", "http", http))
            if "outrigger-grpc" in chosen:
                add(outrigger.pair("outrigger-grpc", "grpc", grpc))
                check_grpc(pairs[-1], folder)
        idle = {pair.name: pair.memory() for pair in pairs}
        results = measure(pairs, shapes, options, folder)
        text = report(results, pairs, shapes, idle, outrigger, ready)
        print(text)
        if options.markdown:
            pathlib.Path(options.markdown).write_text(text)


if __name__ == "__main__":
    main()

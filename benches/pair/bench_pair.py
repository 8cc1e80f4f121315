#!/usr/bin/env python3
"""Cost of one call through a pair of proxies with mTLS between them: Outrigger beside nginx and haproxy.

One run starts all pairs and one origin, then drives four shapes through each pair with wrk in
interleaved rounds, so that every pair meets the same machine. It prints requests per second, p50,
p99, CPU per request of both proxies together (from /proc), memory and errors.

    bench_pair.py [--seconds 5] [--rounds 3] [--only outrigger,haproxy] [--markdown FILE]
"""

import argparse
import os
import pathlib
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

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

SHAPES = [
    ("GET, 1 connection", 1, None),
    ("GET, 32 connections", 32, None),
    ("POST 1 KiB, 32 connections", 32, 1024),
    ("POST 64 KiB, 8 connections", 8, 65536),
]


class Pair:
    """Two proxies: the near end takes plain HTTP, the far end forwards to the origin."""

    def __init__(self, name, url, ready):
        self.name, self.url, self.ready = name, url, ready
        self.processes = []
        self.version = ""

    def start(self, command, **options):
        self.processes.append(subprocess.Popen(command, **options))

    def pids(self):
        """The proxies' processes, workers included."""
        roots = [process.pid for process in self.processes]
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
                except OSError:
                    continue
                parents[int(entry)] = int(stat.rsplit(")", 1)[1].split()[1])
        found = set(roots)
        while True:
            more = {pid for pid, parent in parents.items() if parent in found} - found
            if not more:
                return found
            found |= more

    def cpu_seconds(self):
        total = 0
        for pid in self.pids():
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            total += int(fields[11]) + int(fields[12])
        return total / TICK

    def memory_mib(self):
        total = 0
        for pid in self.pids():
            try:
                total += int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
            except OSError:
                continue
        return total / 2**20

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


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


def certificates(folder):
    """A CA and one leaf for nginx and haproxy, ECDSA P-256."""
    run = lambda *args: subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)
    run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/O=bench", "-keyout", "ca.key", "-out", "ca.crt")
    run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-subj", "/CN=peer", "-keyout", "peer.key", "-out", "peer.csr")
    (folder / "peer.ext").write_text("subjectAltName=DNS:peer\n")
    run("x509", "-req", "-in", "peer.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
        "-extfile", "peer.ext", "-out", "peer.crt")
    (folder / "peer.pem").write_text((folder / "peer.crt").read_text() + (folder / "peer.key").read_text())


def nginx(folder, name, servers, upstreams=""):
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
    return ["nginx", "-c", str(config), "-p", str(folder)]


def start_origin(folder, port):
    """The app: answers every request at once with two bytes."""
    command = nginx(folder, "origin", f"server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ return 200 ok; }} }}")
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def nginx_pair(folder, origin):
    near, far = free_port(), free_port()
    pair = Pair("nginx", f"http://127.0.0.1:{near}/neworder", f"http://127.0.0.1:{near}/")
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
    pair.version = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.strip().split("/")[-1]
    return pair


def haproxy_pair(folder, origin):
    near, far = free_port(), free_port()
    pair = Pair("haproxy", f"http://127.0.0.1:{near}/neworder", f"http://127.0.0.1:{near}/")
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
    pair.version = subprocess.run(["haproxy", "-v"], capture_output=True, text=True).stdout.split()[2].split("-")[0]
    return pair


def outrigger_pair(folder, origin, binary):
    """Sentry issues both identities; the sidecars find each other through mDNS or the static table."""
    ports = {key: free_port() for key in "sentry sentry_health sentry_metrics caller callee".split()}
    creds = folder / "creds"
    creds.mkdir()
    quiet = {"stdout": open(folder / "outrigger.log", "a"), "stderr": subprocess.STDOUT}
    sentry = subprocess.Popen([binary, "sentry", "--port", str(ports["sentry"]), "--listen-address", "127.0.0.1",
        "--healthz-port", str(ports["sentry_health"]), "--metrics-port", str(ports["sentry_metrics"]),
        "--issuer-credentials", str(creds), "--trust-domain", "localhost"], **quiet)
    wait_for(f"http://127.0.0.1:{ports['sentry_health']}/healthz", "sentry")
    pair = Pair("outrigger", f"http://127.0.0.1:{ports['caller']}/v1.0/invoke/callee/method/neworder",
                f"http://127.0.0.1:{ports['caller']}/v1.0/healthz")
    environment = {**os.environ, "DAPR_TRUST_ANCHORS": (creds / "ca.crt").read_text()}
    for app_id, extra in (("callee", ["--app-port", str(origin)]), ("caller", [])):
        pair.start([binary, "daprd", "--app-id", app_id, *extra, "--dapr-http-port", str(ports[app_id]),
            "--dapr-grpc-port", str(free_port()), "--metrics-port", str(free_port()), "--dapr-listen-addresses", "127.0.0.1",
            "--dapr-internal-grpc-port", str(free_port()), "--enable-mtls", "--sentry-address",
            f"127.0.0.1:{ports['sentry']}", "--log-level", "error"], env=environment, **quiet)
        wait_for(f"http://127.0.0.1:{ports[app_id]}/v1.0/healthz", app_id)
    pair.sentry = sentry
    pair.version = subprocess.run([binary, "daprd", "--version"], capture_output=True, text=True).stdout.strip()
    return pair


def drive(url, connections, size, seconds, folder):
    """One wrk run: requests, seconds, p50 and p99 in microseconds, errors."""
    script = folder / f"wrk-{size or 0}.lua"
    body = "" if size is None else f'wrk.method="POST" wrk.body=string.rep("x", {size})\n' \
        'wrk.headers["Content-Type"]="application/octet-stream"\n'
    script.write_text(body + """
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
    return requests, micros / 1e6, p50, p99, errors


def measure(pairs, options, folder):
    results = {}
    for shape, connections, size in SHAPES:
        if options.shapes and not any(word in shape for word in options.shapes.split(",")):
            continue
        for pair in pairs:
            drive(pair.url, connections, size, 1, folder)
        for _ in range(options.rounds):
            for pair in pairs:
                before = pair.cpu_seconds()
                requests, seconds, p50, p99, errors = drive(pair.url, connections, size, options.seconds, folder)
                cpu = (pair.cpu_seconds() - before) * 1e6 / max(requests, 1)
                results.setdefault((shape, pair.name), []).append((requests / seconds, p50, p99, cpu, errors))
                print(f"  {shape:28} {pair.name:10} {requests / seconds:9.0f} req/s  p50 {p50:6} us  "
                      f"p99 {p99:6} us  cpu {cpu:6.1f} us  errors {errors}", file=sys.stderr)
    return results


def table(results, pairs, idle):
    lines = ["| shape | pair | requests/s | p50 us | p99 us | CPU us a request | errors |", "|---|---|--:|--:|--:|--:|--:|"]
    for shape, _, _ in SHAPES:
        for pair in pairs:
            rounds = results.get((shape, pair.name))
            if not rounds:
                continue
            middle = [statistics.median(column) for column in zip(*rounds)]
            errors = sum(row[4] for row in rounds)
            lines.append(f"| {shape} | {pair.name} {pair.version} | {middle[0]:,.0f} | {middle[1]:.0f} | {middle[2]:.0f} "
                         f"| {middle[3]:.1f} | {errors} |")
    memory = ", ".join(f"{pair.name} {idle[pair.name]:.1f} MiB idle and {pair.memory_mib():.1f} MiB after the load" for pair in pairs)
    return "\n".join(lines) + f"\n\nMemory of each pair (resident): {memory}.\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5, help="length of one wrk run")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; the table shows medians")
    parser.add_argument("--only", default="nginx,haproxy,outrigger", help="pairs to run")
    parser.add_argument("--shapes", default="", help="only shapes whose name contains one of these words")
    parser.add_argument("--binary", default=str(ROOT / "target/dist/outrigger"))
    parser.add_argument("--markdown", help="also write the table to this file")
    options = parser.parse_args()
    for tool in ("wrk", "nginx", "haproxy", "openssl"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing; `make bench-tools` installs it")
    pairs, origin, sentry = [], None, None
    with tempfile.TemporaryDirectory(prefix="outrigger-bench-") as name:
        folder = pathlib.Path(name)
        os.chmod(folder, 0o755)
        try:
            certificates(folder)
            port = free_port()
            origin = start_origin(folder, port)
            wait_for(f"http://127.0.0.1:{port}/", "the origin")
            chosen = options.only.split(",")
            if "nginx" in chosen:
                pairs.append(nginx_pair(folder, port))
            if "haproxy" in chosen:
                pairs.append(haproxy_pair(folder, port))
            if "outrigger" in chosen:
                pairs.append(outrigger_pair(folder, port, options.binary))
            for pair in pairs:
                wait_for(pair.ready, pair.name)
            idle = {pair.name: pair.memory_mib() for pair in pairs}
            results = measure(pairs, options, folder)
            report = table(results, pairs, idle)
            print(report)
            if options.markdown:
                pathlib.Path(options.markdown).write_text(report)
        finally:
            for pair in pairs:
                pair.stop()
                if getattr(pair, "sentry", None):
                    pair.sentry.terminate()
                    pair.sentry.wait(10)
            if origin:
                origin.terminate()
                origin.wait(10)


if __name__ == "__main__":
    main()

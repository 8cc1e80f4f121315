#!/usr/bin/env python3
"""Cost of state through a sidecar, beside a direct client of the same server.

    wrk ─────HTTP/1.1──▶ sidecar ──▶ Redis, PostgreSQL
    h2load ──gRPC──────▶    ┘            ▲
    redis-benchmark, pgbench ────────────┘

One run starts the servers and one sidecar, then gets and saves values of 1 KiB at one connection and at 32, in
interleaved rounds. It prints medians of requests per second, p50, p99, and the CPU that the sidecar and the
server took for a request; and what the sidecar adds to the p50 of the direct client.

The direct clients do what the store does: the same commands, a statement that is prepared.

    bench_state.py [--seconds 3] [--rounds 3] [--stores redis,postgres] [--binary PATH] [--markdown FILE]
"""

import argparse
import base64
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import pwd
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "pair"))
from bench_pair import (TICK, Outrigger, Sample, free_port, grpc_headers, machine, run_h2load, run_wrk, stat_fields, stop,
                        wait_for)

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SIZE = 1024
VALUE = base64.b64encode(hashlib.shake_256(b"bench").digest(SIZE * 3 // 4)).decode()[:SIZE]
KEY = "order"
APP_ID = "bench"
CONNECTIONS = (1, 32)
WARM_UP = 1
GOALS = {"p50 at 1 connection": 60, "CPU at 32 connections": 40}

# ------------------------------------------------------------------------------------------------ servers


class Redis:
    """A server that keeps nothing on disk, and redis-benchmark."""

    name = "redis"
    programs = ("redis-server", "redis-benchmark", "redis-cli")
    # What a save does: the version is looked at and raised, the value is set.
    SCRIPT = ("local version = redis.pcall('HGET', KEYS[1], 'version') "
              "if version and version ~= '' and version ~= ARGV[1] and ARGV[1] ~= '0' then return 0 end "
              "redis.call('HSET', KEYS[1], 'data', ARGV[2]) return redis.call('HINCRBY', KEYS[1], 'version', 1)")

    def __init__(self, folder):
        self.port = free_port()
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
            stdout=subprocess.DEVNULL)
        until(lambda: self.cli("PING") == "PONG", "redis-server")
        self.script = self.cli("SCRIPT", "LOAD", self.SCRIPT)

    def component(self):
        return "state.redis", "v1", {"redisHost": f"127.0.0.1:{self.port}"}

    def cli(self, *words):
        command = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    def drive(self, operation, connections, seconds, _):
        key = f"{APP_ID}||{KEY}"
        words = {"get": ["HGETALL", key],
                 "save": ["EVALSHA", self.script, "1", key, "0", VALUE, "1", ""]}[operation]
        run = lambda count: subprocess.run(
            ["redis-benchmark", "-p", str(self.port), "-c", str(connections), "-n", str(count), "--csv", *words],
            capture_output=True, text=True, check=True).stdout.splitlines()[-1]
        fields = lambda line: [float(field) for field in re.findall(r'"([\d.]+)"', line)]
        rate = fields(run(2000))[0]
        count = int(rate * seconds)
        rate, _, _, p50, _, p99, _ = fields(run(count))[-7:]
        return Sample(rate, p50 * 1e3, p99 * 1e3, 0, count)

    def pids(self):
        return [self.process.pid]

    def stop(self):
        stop(self.process)


class Postgres:
    """A server with its ordinary settings, and pgbench with prepared statements."""

    name = "postgres"
    programs = ("pgbench",)
    SCRIPTS = {
        "get": "SELECT value, etag FROM direct WHERE key = 'order' AND (expires IS NULL OR expires >= now());",
        "save": f"INSERT INTO direct (key, value, etag) VALUES ('order', '{VALUE}', gen_random_uuid()) "
                "ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value, etag = EXCLUDED.etag, updated = now();",
    }

    def __init__(self, folder):
        self.port, self.folder = free_port(), folder
        bin = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        data = folder / "pg"
        data.mkdir()
        self.user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        as_user = ["setpriv", "--reuid", self.user, "--regid", self.user, "--clear-groups"] if os.getuid() == 0 else []
        if os.getuid() == 0:
            shutil.chown(data, self.user, self.user)
            shutil.chown(folder, self.user)
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run([*as_user, bin / "initdb", "-D", data, "-A", "trust", "-U", "postgres"], check=True, **quiet)
        self.process = subprocess.Popen(
            [*as_user, bin / "postgres", "-D", data, "-p", str(self.port), "-h", "127.0.0.1", "-k", str(data)], **quiet)
        until(lambda: self.psql("SELECT 1") == "1", "postgres")
        self.psql("CREATE TABLE direct (key text PRIMARY KEY, value bytea, etag uuid, updated timestamptz, expires timestamptz)")
        self.psql(self.SCRIPTS["save"])

    def component(self):
        url = f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres sslmode=disable"
        return "state.postgresql", "v2", {"connectionString": url}

    def psql(self, statement):
        command = ["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-Atc", statement, "postgres"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    def drive(self, operation, connections, seconds, folder):
        script = folder / "pgbench.sql"
        script.write_text(self.SCRIPTS[operation])
        for log in folder.glob("pgbench_log*"):
            log.unlink()
        # Writers of one row would wait for each other; those through the sidecar do as well.
        subprocess.run(["pgbench", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-n", "-M", "prepared",
                        "-c", str(connections), "-j", "1", "-T", str(seconds), "-f", script, "-l", "postgres"],
                       cwd=folder, check=True, capture_output=True)
        lines = [line.split() for log in folder.glob("pgbench_log*") for line in log.read_text().splitlines()]
        times = sorted(int(line[2]) for line in lines)
        at = lambda share: times[int((len(times) - 1) * share)]
        return Sample(len(times) / seconds, at(0.5), at(0.99), 0, len(times))

    def pids(self):
        children = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and parent(int(pid)) == self.process.pid]
        return [self.process.pid, *children]

    def stop(self):
        stop(self.process)


def parent(pid):
    with contextlib.suppress(OSError):
        return int(stat_fields(pid)[1])
    return 0


def until(is_ready, what, seconds=20):
    end = time.monotonic() + seconds
    while not is_ready():
        if time.monotonic() > end:
            sys.exit(f"{what} did not become ready")
        time.sleep(0.05)


# ------------------------------------------------------------------------------------------------ the sidecar


@dataclass
class Sidecar:
    """A sidecar with a component for each server."""

    http: int
    grpc: int
    process: subprocess.Popen
    checked: set = dataclasses.field(default_factory=set)

    def drive_http(self, store, operation, connections, seconds, folder):
        url = f"http://127.0.0.1:{self.http}/v1.0/state/{store}"
        if operation == "get":
            return run_wrk(f"{url}/{KEY}", "", connections, seconds, folder)
        body = json.dumps([{"key": KEY, "value": VALUE}])
        prelude = f"wrk.method='POST' wrk.body=[==[{body}]==] wrk.headers['Content-Type']='application/json'\n"
        return run_wrk(url, prelude, connections, seconds, folder)

    def drive_grpc(self, store, operation, connections, seconds, folder):
        if operation == "get":
            method, message = "GetState", field(1, store) + field(2, KEY)
        else:
            method, message = "SaveState", field(1, store) + field(2, field(1, KEY) + field(2, VALUE))
        path = folder / f"message-{store}-{method}"
        path.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
        url = f"http://127.0.0.1:{self.grpc}/dapr.proto.runtime.v1.Dapr/{method}"
        if path not in self.checked:
            check_grpc(url, path)
            self.checked.add(path)
        # As many calls at once as there are connections with HTTP, on few connections.
        lanes, streams = (1, 1) if connections == 1 else (4, connections // 4)
        return run_h2load(url, path, lanes, streams, seconds, folder)

    def pids(self):
        return [self.process.pid]


def field(number, content):
    """A field of protobuf with a length."""
    content = content if isinstance(content, bytes) else content.encode()
    size, varint = len(content), b""
    while size > 127:
        varint += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + varint + bytes([size]) + content


def check_grpc(url, message):
    """Sees that a call comes back with status 0: h2load does not look at trailers."""
    command = ["nghttp", "-v", "-t", "20", "-d", str(message), *grpc_headers("-H"), url]
    output = subprocess.run(command, capture_output=True).stdout.decode(errors="replace")
    if "grpc-status: 0" not in output:
        sys.exit(f"a call of {url} failed:\n{output}")


def start_sidecar(outrigger, servers, folder):
    resources = folder / "resources"
    resources.mkdir()
    for server in servers:
        kind, version, metadata = server.component()
        items = "".join(f"  - name: {name}\n    value: \"{value}\"\n" for name, value in metadata.items())
        (resources / f"{server.name}.yaml").write_text(
            f"apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: {server.name}\n"
            f"spec:\n  type: {kind}\n  version: {version}\n  ignoreErrors: true\n  metadata:\n{items}")
    config = outrigger.configuration(free_port())
    started = outrigger.start(outrigger.binary, APP_ID, config, free_port(), "--resources-path", resources)
    wait_for(f"http://127.0.0.1:{started['http']}/v1.0/healthz", "the sidecar")
    return Sidecar(started["http"], started["grpc"], started["process"])


def save(sidecar, store):
    """Saves the value once by HTTP and reads it, so that what is measured is known to work."""
    url = f"http://127.0.0.1:{sidecar.http}/v1.0/state/{store}"
    body = json.dumps([{"key": KEY, "value": VALUE}]).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request), urllib.request.urlopen(f"{url}/{KEY}") as answer:
            return json.loads(answer.read()) == VALUE
    except OSError as error:
        print(f"{store} is left out: {error}", file=sys.stderr)
        return False


# ------------------------------------------------------------------------------------------------ measuring


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            # Its own time, and that of its children that have ended: a server may have one for each client.
            total += sum(map(int, stat_fields(pid)[11:15]))
    return total / TICK


def measure(sidecar, servers, options, folder):
    results = {}
    ways = {"direct": lambda server: server.drive,
            "HTTP": lambda server: lambda *args: sidecar.drive_http(server.name, *args),
            "gRPC": lambda server: lambda *args: sidecar.drive_grpc(server.name, *args)}
    for server in servers:
        for operation in ("get", "save"):
            for connections in CONNECTIONS:
                for way, drive in ways.items():
                    drive(server)(operation, connections, WARM_UP, folder)
                for _ in range(options.rounds):
                    for way, drive in ways.items():
                        before = cpu_seconds(sidecar.pids()), cpu_seconds(server.pids())
                        sample = drive(server)(operation, connections, options.seconds, folder)
                        each = lambda seconds: seconds * 1e6 / max(sample.requests, 1)
                        sample.cpu = each(cpu_seconds(sidecar.pids()) - before[0])
                        sample.server_cpu = each(cpu_seconds(server.pids()) - before[1])
                        results.setdefault((server.name, operation, connections, way), []).append(sample)
                        print(f"  {server.name:9} {operation:5} {connections:3} {way:7} {sample.rate:9.0f} req/s  "
                              f"p50 {sample.p50:6.0f} us  p99 {sample.p99:6.0f} us  sidecar {sample.cpu:5.1f} us  "
                              f"server {sample.server_cpu:5.1f} us  errors {sample.errors}", file=sys.stderr)
    return results


def report(results):
    lines = [machine(), f"Values of {SIZE} bytes. Goals: the sidecar adds at most {GOALS['p50 at 1 connection']} us to "
             f"the p50 at 1 connection, and takes at most {GOALS['CPU at 32 connections']} us of CPU at 32.", "",
             "| store | operation | connections | client | requests/s | p50 us | added | p99 us | CPU us: sidecar | server | errors |",
             "|---|---|--:|---|--:|--:|--:|--:|--:|--:|--:|"]
    for (store, operation, connections, way), samples in results.items():
        middle = lambda column, samples=samples: statistics.median(getattr(sample, column) for sample in samples)
        direct = results[store, operation, connections, "direct"]
        added = middle("p50") - statistics.median(sample.p50 for sample in direct)
        errors = sum(sample.errors for sample in samples)
        through = way != "direct"
        row = [store, operation, connections, way, f"{middle('rate'):,.0f}", f"{middle('p50'):.0f}",
               f"{added:.0f}" if through else "", f"{middle('p99'):.0f}",
               f"{middle('cpu'):.1f}" if through else "", f"{middle('server_cpu'):.1f}", errors]
        lines.append(f"| {' | '.join(map(str, row))} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3, help="length of one run of load")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; the table shows medians")
    parser.add_argument("--stores", default="redis,postgres", help="stores to run; one whose server is missing is left out")
    parser.add_argument("--binary", default=str(ROOT / "target/dist/outrigger"))
    parser.add_argument("--markdown", help="also write the table to this file")
    options = parser.parse_args()
    for tool in ("wrk", "h2load", "nghttp"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing; `make bench-tools` installs it")
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="outrigger-bench-")))
        os.chmod(folder, 0o755)
        servers = []
        for kind in (Redis, Postgres):
            if kind.name not in options.stores.split(","):
                continue
            if missing := [program for program in kind.programs if shutil.which(program) is None]:
                print(f"{kind.name} is left out: {', '.join(missing)} missing", file=sys.stderr)
                continue
            servers.append(kind(folder))
            stack.callback(servers[-1].stop)
        outrigger = Outrigger(folder, options.binary)
        stack.callback(outrigger.stop)
        sidecar = start_sidecar(outrigger, servers, folder)
        servers = [server for server in servers if save(sidecar, server.name)]
        if not servers:
            sys.exit("no store can be measured")
        text = report(measure(sidecar, servers, options, folder))
        print(text)
        if options.markdown:
            pathlib.Path(options.markdown).write_text(text)


if __name__ == "__main__":
    main()

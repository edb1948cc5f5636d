"""An exchange and an engine as two processes, and what watches them: used by scripts/soak and
scripts/observer-cost. Standard library only; everything on loopback, ports chosen by the kernel."""
import http.client
import http.server
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def default_binary():
    return os.path.join(ROOT, "target/release/genesis")


def percentile(values, share):
    """The value below which `share` of them lie; None of none."""
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else None


def slope(points):
    """Least squares over (x, y)."""
    if len(points) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    under = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / under if under else 0.0


class Webhook:
    """Takes alerts, and says when each came."""

    def __init__(self):
        heard = self.heard = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                size = int(self.headers.get("content-length", 0))
                body = json.loads(self.rfile.read(size))
                heard.append((time.time(), body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def raised(self):
        """What was raised, the daily summary apart: it is no alarm."""
        return [(at, body) for at, body in list(self.heard)
                if body.get("state") == "raised" and body.get("alert") != "daily_summary"]


class Pair:
    """`genesis venue` and `genesis run --attach`, with their files in a directory of their own."""

    def __init__(self, binary, venue_args=(), run_args=(), work=None, engine_cpus=None):
        """`engine_cpus`: those of the engine, where this process may not use all of them."""
        self.engine_cpus = engine_cpus
        self.binary = os.path.abspath(binary)
        self.keeps = work is not None
        self.work = work or tempfile.mkdtemp(prefix="genesis-pair-")
        os.makedirs(self.work, exist_ok=True)
        self.processes = []
        self.webhook = Webhook()
        hook = os.path.join(self.work, "hook")
        with open(hook, "w") as file:
            file.write(self.webhook.url)
        self.venue = self.start("venue", "--no-rest-limits", *venue_args)
        hello = self.first_line("venue.out")
        address = hello["rest"].split("//")[1]
        self.runs = os.path.join(self.work, "runs")
        self.run = self.start("run", "--attach", address, "--plain", "--dir", self.runs,
                              "--set", f"alerts.webhook_url_file={json.dumps(hook)}", *run_args)
        self.dir = self.wait("a run directory", self.run_dir)
        url = self.wait("the control port", lambda: self.text("dashboard.url"))
        self.address = url.strip().split("//")[1].strip("/")
        self.token = self.wait("the token", lambda: self.text("token.read")).strip()
        self.wait("running", lambda: self.status()["state"]["rank"] == "running", 120)

    def start(self, *args):
        name = os.path.join(self.work, args[0])
        cpus = self.engine_cpus if args[0] == "run" else None
        process = subprocess.Popen([self.binary, *args], stdout=open(name + ".out", "wb"),
                                   stderr=open(name + ".err", "wb"), stdin=subprocess.DEVNULL,
                                   preexec_fn=cpus and (lambda: os.sched_setaffinity(0, cpus)))
        self.processes.append(process)
        return process

    def first_line(self, name):
        path = os.path.join(self.work, name)
        line = self.wait(name, lambda: open(path).read().partition("\n")[0])
        return json.loads(line)

    def run_dir(self):
        latest = os.path.join(self.runs, "latest")
        return os.path.join(self.runs, open(latest).read().strip()) if os.path.exists(latest) else None

    def text(self, name):
        path = os.path.join(self.dir, name)
        return open(path).read() if os.path.exists(path) else None

    def wait(self, what, ready, seconds=60):
        end = time.time() + seconds
        while time.time() < end:
            try:
                found = ready()
            except (OSError, ValueError):
                found = None
            if found:
                return found
            if any(process.poll() is not None for process in self.processes):
                break
            time.sleep(0.1)
        self.close()
        raise SystemExit(f"FAILED {what}: did not come about; see {self.work}")

    def get(self, path):
        host, port = self.address.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        try:
            connection.request("GET", path, headers={"authorization": "Bearer " + self.token})
            reply = connection.getresponse()
            body = reply.read()
            if reply.status != 200:
                raise OSError(f"{path}: {reply.status}")
            return body
        finally:
            connection.close()

    def status(self):
        return json.loads(self.get("/api/v1/status"))

    def is_alive(self):
        return all(process.poll() is None for process in self.processes)

    def close(self):
        """Graceful, the engine first; its exit code."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(40)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self.webhook.server.shutdown()
        code = self.processes[-1].returncode
        if not self.keeps and code == 0:
            shutil.rmtree(self.work, ignore_errors=True)
        return code


class Observers:
    """Dashboards that follow the events, and scrapes as Prometheus makes them, while it lives."""

    def __init__(self, pair, dashboards, scrape_s):
        self.pair, self.stop = pair, threading.Event()
        self.pictures, self.scrapes, self.failures = 0, 0, 0
        self.threads = [threading.Thread(target=self.follow) for _ in range(dashboards)]
        if scrape_s:
            self.threads.append(threading.Thread(target=self.scrape, args=(scrape_s,)))
        for thread in self.threads:
            thread.start()

    def follow(self):
        host, port = self.pair.address.split(":")
        while not self.stop.is_set():
            connection = http.client.HTTPConnection(host, int(port), timeout=10)
            try:
                connection.request("GET", "/api/v1/events",
                                   headers={"authorization": "Bearer " + self.pair.token})
                reply = connection.getresponse()
                while not self.stop.is_set():
                    line = reply.readline()
                    if not line:
                        break
                    self.pictures += line.startswith(b"data: ")
            except OSError:
                self.failures += not self.stop.is_set()
                self.stop.wait(0.5)
            finally:
                connection.close()

    def scrape(self, every_s):
        while not self.stop.wait(every_s):
            try:
                self.pair.get("/metrics")
                self.scrapes += 1
            except OSError:
                self.failures += not self.stop.is_set()

    def close(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


# Enough orders a second for a median of some seconds, none of them refused for its rate.
PROBES = """
[risk]
order_rate_max = {rate}

[risk.account]
repeat_max = 64
trades_day_max = 1000000
symbol_trades_day_max = 1000000
daily_loss_max = 1000000
drawdown_max = 1000000

""" + "\n".join(f"""[[strategy]]
kind = "probe"
symbols = ["{symbol}"]
qty = {qty}
every_changes = 2
style = "rest"
distance_bps = 50
hold_ms = 200
""" for symbol, qty in (("tBTCUSD", 0.002), ("tETHUSD", 0.02), ("tADAUSD", 40), ("tDOTUSD", 10)))


OWN_CORE = """
[topology]
layout = "explicit"

[[topology.thread]]
name = "hot"
stages = ["read", "parse", "signal", "risk", "send"]
core = {core}
wait = "spin"
class = "critical"
"""


def probing(binary, activity, work=None, own_core=False):
    """A pair whose engine sends many orders, so that short spans have a median. `own_core`: as on a
    host that gives the hot thread a CPU of its own: it spins on the last one, and the exchange, the
    other threads of the engine and this process share the rest."""
    place = work or tempfile.mkdtemp(prefix="genesis-probing-")
    os.makedirs(place, exist_ok=True)
    path = os.path.join(place, "probes.toml")
    with open(path, "w") as file:
        file.write(PROBES.format(rate=100000))
        cpus = sorted(os.sched_getaffinity(0))
        if own_core:
            if len(cpus) < 2:
                raise SystemExit("SKIPPED: a core of its own needs two CPUs")
            file.write(OWN_CORE.format(core=cpus[-1]))
            os.sched_setaffinity(0, cpus[:-1])
    return Pair(binary, ["--market", "synthetic:7", "--activity", str(activity)],
                ["--config", path], place, cpus)


class OrderTimes:
    """The waterfalls of orders that ended since the last look."""

    def __init__(self, pair):
        self.path, self.at = os.path.join(pair.dir, "orders.jsonl"), 0
        self.take()

    def take(self):
        with open(self.path, "rb") as file:
            file.seek(self.at)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self.at += whole
        rows = [json.loads(line) for line in data[:whole].splitlines() if line]
        return [row for row in rows if row.get("written") is not None]

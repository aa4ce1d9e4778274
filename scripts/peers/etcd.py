#!/usr/bin/env python3
"""etcd beside dunlin, on the same machine: three servers in a temporary folder, 64 callers that each put 200 bytes under a
key and delete it again, as a queue kept in etcd would. Prints lines like those of scripts/bench; run the two in turn.

Needs etcd (Debian: etcd-server) and grpcio (PyPI). The processor time is the servers' alone, but the callers, in Python,
run on the same cores: the rate is what is left for the servers. `bound` is the rate at which these servers would fill
all cores if calling them cost nothing.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

SERVERS = 3
CALLERS = 64
TASKS = 6_400
ROUNDS = 3
ALONE = 500
VALUE = b"v" * 200


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(folder):
    ports = free_ports(2 * SERVERS)
    clients = [f"http://127.0.0.1:{port}" for port in ports[:SERVERS]]
    peers = [f"http://127.0.0.1:{port}" for port in ports[SERVERS:]]
    cluster = ",".join(f"n{at}={peer}" for at, peer in enumerate(peers))
    servers = []
    for at, (client, peer) in enumerate(zip(clients, peers)):
        command = ["etcd", "--name", f"n{at}", "--data-dir", f"{folder}/n{at}", "--logger", "zap", "--log-level", "error"]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        command += ["--initial-cluster", cluster, "--initial-cluster-state", "new"]
        servers.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    return servers, [client.removeprefix("http://") for client in clients]


def seconds(servers):
    """User and system time of the servers."""
    ticks = 0
    for server in servers:
        with open(f"/proc/{server.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def field(number, value):
    """One field of a protobuf message: the key is the first of both requests, the value the second of a put."""
    length, size = b"", len(value)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + value


async def ready(put):
    for _ in range(300):
        try:
            await put(field(1, b"ready") + field(2, b"yes"))
            return
        except Exception:
            await asyncio.sleep(0.1)
    sys.exit("etcd did not answer within 30 s")


async def measure(grpc, servers, addresses):
    def method(address, name):
        return grpc.aio.insecure_channel(address).unary_unary(f"/etcdserverpb.KV/{name}")

    puts = [method(address, "Put") for address in addresses]
    deletes = [method(address, "DeleteRange") for address in addresses]
    await ready(puts[0])

    async def caller(number, tasks, times):
        for task in range(tasks):
            key = field(1, b"task/%d/%d" % (number, task))
            begun = time.perf_counter()
            await puts[number % SERVERS](key + field(2, VALUE))
            await deletes[number % SERVERS](key)
            times.append(time.perf_counter() - begun)

    async def all_callers(tasks):
        await asyncio.gather(*(caller(number, tasks, []) for number in range(CALLERS)))

    await all_callers(5)
    rates, costs = [], []
    for _ in range(ROUNDS):
        used, begun = seconds(servers), time.perf_counter()
        await all_callers(TASKS // CALLERS)
        rates.append(TASKS / (time.perf_counter() - begun))
        costs.append((seconds(servers) - used) / TASKS * 1e6)
    times = []
    await caller(0, ALONE, times)
    middle = ROUNDS // 2
    rate, cost, alone = sorted(rates)[middle], sorted(costs)[middle], sorted(times)[ALONE // 2]
    count = ROUNDS * TASKS
    print(f"w1\tetcd-3\t{count}\t{rate:.0f}\ttasks/s")
    print(f"w1-bound\tetcd-3\t{count}\t{os.cpu_count() * 1e6 / cost:.0f}\ttasks/s")
    print(f"w1-cpu\tetcd-3\t{count}\t{cost:.0f}\tus/task")
    print(f"w3-handler-p50\tetcd-3\t{ALONE}\t{alone * 1e3:.2f}\tms")


def main():
    try:
        import grpc
    except ImportError:
        sys.exit("grpcio is missing: pip install grpcio")
    if shutil.which("etcd") is None:
        sys.exit("etcd is missing: install etcd-server")
    with tempfile.TemporaryDirectory(prefix="etcd-bench.") as folder:
        servers, addresses = start(folder)
        try:
            asyncio.run(measure(grpc, servers, addresses))
        finally:
            for server in servers:
                server.kill()
                server.wait()


if __name__ == "__main__":
    main()

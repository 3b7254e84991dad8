"""A Waypost with its default limits behind TLS: a test CA, a leaf that clients can check, links, and the clicks it recorded."""
import json
import os
import re
import subprocess
import time

import harness
from harness import HOST, Failure, Process

HOSTS = ("go.example.com", "shop.example.com", "social.example.com", "shop.example.org", "localhost")
CODES = ("tea", "cup", "pot")
LEAF = f"""basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {", ".join(f"DNS:{host}" for host in HOSTS)}, IP:{HOST}
"""


def openssl(directory, *words):
    ran = subprocess.run(["openssl", *words], cwd=directory, capture_output=True, text=True)
    if ran.returncode:
        raise Failure(f"openssl {words[0]}: {ran.stderr}")


def make_certificates(directory):
    """ca.pem, and chain.pem with leaf.key: P-256, as most certificates are today; 90 days."""
    for name in ("ca", "leaf"):
        openssl(directory, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{name}.key")
    openssl(directory, "req", "-x509", "-new", "-key", "ca.key", "-sha256", "-days", "120", "-subj", "/CN=Waypost test CA",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", "ca.pem")
    openssl(directory, "req", "-new", "-key", "leaf.key", "-subj", f"/CN={HOSTS[0]}", "-out", "leaf.csr")
    (directory / "leaf.ext").write_text(LEAF)
    openssl(directory, "x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "90", "-sha256", "-extfile", "leaf.ext", "-out", "leaf.pem")
    (directory / "chain.pem").write_text((directory / "leaf.pem").read_text() + (directory / "ca.pem").read_text())


class Site(harness.Waypost):
    """`waypost serve` as it comes: only listeners, certificate, HSTS, links and directories are given."""

    def __init__(self, binary, directory, shop):
        directory.mkdir()
        make_certificates(directory)
        self.directory, self.data = directory, directory / "data"
        self.tls, self.plain, self.h2c, self.admin = (harness.free_port() for _ in range(4))
        self.port = self.plain
        (directory / "links.jsonl").write_text("".join(
            json.dumps({"code": code, "url": f"{shop}/{code}", "kind": "plain", "creator": f"c_{code}",
                        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))}) + "\n"
            for code in CODES))
        (directory / "waypost.toml").write_text(f"""
[server]
data_dir = "data"
[edge]
listen = [{{ address = "{HOST}:{self.tls}", tls = true, http2 = true }}, "{HOST}:{self.plain}",
          {{ address = "{HOST}:{self.h2c}", http2 = true }}]
[tls]
certificates = [{{ cert = "chain.pem", key = "leaf.key" }}]
hsts = "max-age=31536000"
[admin]
listen = "{HOST}:{self.admin}"
[links]
file = "links.jsonl"
""")
        Process.__init__(self, "waypost", [binary, "serve", "--config", "waypost.toml"], os.sched_getaffinity(0),
                         directory / "waypost.log", cwd=directory)
        self.ready()

    def clicks(self, count, seconds=20):
        """All events so far in the order of their clicks, as soon as there are `count`."""
        def read():
            lines = [line for file in sorted((self.data / "clicks").glob("*.jsonl"))
                     for line in file.read_text().splitlines() if line.endswith("}")]
            return lines if len(lines) >= count else None
        lines = self.wait_until(read, f"{count} clicks in the files", seconds)
        return sorted(map(json.loads, lines), key=lambda event: event["click_id"])

    def closed(self):
        """Connections ended, by reason, those with any."""
        prefix, found = "waypost_connections_closed_total{", {}
        for line in harness.get(self.admin, "/metrics")[2].decode().splitlines():
            if line.startswith(prefix) and not line.endswith(" 0"):
                found[line.split('"')[1]] = int(float(line.rsplit(" ", 1)[1]))
        return found


def run(command, seconds, cwd=None, env=None):
    """A tool to its end: exit status and all that it printed; a tool that does not end is an error."""
    try:
        ran = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=seconds, cwd=cwd, env={**os.environ, **(env or {})})
    except subprocess.TimeoutExpired:
        raise Failure(f"{command[0]} did not end in {seconds} s") from None
    return ran.returncode, ran.stdout.decode(errors="replace")


def plain_text(printed):
    """Without the codes for a terminal."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", printed)

"""testssl.sh and sslscan: what the TLS side offers, seen from outside.

testssl.sh rates by itself; its `WARN` is a check that could not be made and counts as medium here. sslscan only tells: what it tells is
rated by the table in `rated_lines`.
"""
import json
import xml.etree.ElementTree as xml

from harness import Failure
from outside.findings import Finding, Outcome
from outside.site import HOSTS, plain_text, run

RATED = {"OK": None, "INFO": None, "DEBUG": None, "LOW": "low", "WARN": "medium", "MEDIUM": "medium", "HIGH": "high",
         "CRITICAL": "critical", "FATAL": "critical"}
# Of the scan itself, or a line that repeats another.
SUMMARIES = {"scanTime"}


def testssl(site):
    target = f"localhost:{site.tls}"
    for attempt in (1, 2):
        report = site.directory / f"testssl-{attempt}.json"
        _, printed = run(["testssl", "--quiet", "--color", "0", "--warnings", "off", "--ip", "one",
                          "--add-ca", site.directory / "ca.pem", "--jsonfile", report, f"https://{target}"], 600)
        said = [one for one in json.loads(report.read_text()) if one["id"] not in SUMMARIES]
        if len(said) < 100:
            raise Failure(f"testssl gave up after {len(said)} lines:\n{printed[-2000:]}")
        # A check whose own connection failed is made again, once: openssl s_client is sometimes gone too early.
        if not any("connect problem" in one["finding"] for one in said):
            break
    by_id = {}
    for one in said:
        if severity := RATED[one["severity"]]:
            by_id[one["id"]] = Finding(one["id"], severity, one["finding"])
    count = {name: sum(one["severity"] == name for one in said) for name in RATED}
    lines = [f"{len(said)} lines: " + ", ".join(f"{number} {name}" for name, number in count.items() if number)]
    lines += [line.rstrip() for line in printed.splitlines() if line.startswith(" ") and (
        "vulnerable" in line or " offered" in line or "Strict Transport" in line)]
    version = run(["testssl", "--version"], 20)[1]
    return Outcome(next((line.strip() for line in version.splitlines() if "testssl" in line), "testssl"), len(said),
                   list(by_id.values()), lines, {"said": said})


def rated_lines(scan):
    """Every statement of sslscan with its rating: id, severity or None where it is as it should be, text."""
    for one in scan.iter("protocol"):
        name, old = f"{one.get('type')}{one.get('version')}", one.get("version") not in ("1.2", "1.3")
        state = "enabled" if one.get("enabled") == "1" else "disabled"
        yield name, ("high" if old == (state == "enabled") else None), state
    for one in scan.iter("cipher"):
        yield (f"{one.get('sslversion')} {one.get('cipher')}", None if one.get("strength") in ("strong", "acceptable") else "high",
               f"{one.get('strength')}, {one.get('bits')} bits, {one.get('curve')}")
        if "GCM" not in one.get("cipher") and "POLY1305" not in one.get("cipher") or not one.get("ecdhebits"):
            yield f"{one.get('cipher')} mode", "medium", "no AEAD, or no forward secrecy"
    for one in scan.iter("group"):
        yield f"group {one.get('name')}", None if int(one.get("bits")) >= 112 else "medium", f"{one.get('bits')} bits"
    for one in scan.iter("heartbleed"):
        yield f"heartbleed {one.get('sslversion')}", "critical" if one.get("vulnerable") == "1" else None, one.get("vulnerable")
    for one in scan.iter("renegotiation"):
        bad = one.get("supported") == "1" and one.get("secure") != "1"
        yield "renegotiation", "high" if bad else None, f"supported {one.get('supported')}, secure {one.get('secure')}"
    for one in scan.iter("compression"):
        yield "compression", "high" if one.get("supported") == "1" else None, one.get("supported")
    for one in scan.iter("certificate"):
        algorithm, key = one.findtext("signature-algorithm"), one.find("pk")
        yield "signature", None if "sha256" in algorithm.lower() else "medium", algorithm
        yield "key", "high" if key.get("error") == "true" or int(key.get("bits")) < 112 else None, f"{key.get('type')} {key.get('bits')}"
        yield "expired", "high" if one.findtext("expired") != "false" else None, one.findtext("expired")
        yield "self-signed", "medium" if one.findtext("self-signed") != "false" else None, one.findtext("self-signed")


def sslscan(site):
    report = site.directory / "sslscan.xml"
    _, printed = run(["sslscan", "--no-colour", "--show-sigs", f"--sni-name={HOSTS[0]}", f"--xml={report}",
                      f"127.0.0.1:{site.tls}"], 300)
    said = list(rated_lines(xml.parse(report).getroot()))
    # Seven protocols, three suites of each TLS, groups, Heartbleed, renegotiation, four of the certificate.
    if len(said) < 20:
        raise Failure(f"sslscan said too little:\n{printed}")
    return Outcome(f"sslscan {plain_text(run(['sslscan', '--version'], 10)[1]).split()[0]}", len(said),
                   [Finding(id, severity, text) for id, severity, text in said if severity],
                   [f"{id}: {text}" for id, _, text in said], {"said": said})

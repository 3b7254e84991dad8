"""h2spec: conformance of HTTP/2 (RFC 7540, which it knows, and 7541), over TLS and by prior knowledge, strict cases too.

It asks for `/`, a page with a body: cases that hold an answer back by a closed window need one. A case whose answer can be out before
the case's wrong frame is in fails by luck, so all of it is run three times on each listener, and a failure in any is a finding.
"""
import os
import xml.etree.ElementTree as xml

from harness import HOST, Failure
from outside.findings import Finding, Outcome
from outside.site import run

PASSES = 3


def cases(report):
    """id → name and what was seen, None where it passed. The id is h2spec's own section and number."""
    found = {}
    for suite in xml.parse(report).getroot():
        for number, case in enumerate(suite, 1):
            if case.find("skipped") is not None:
                raise Failure(f"h2spec skipped {suite.get('package')}/{number}: {case.get('classname')}")
            wrong = case.find("error") if case.find("error") is not None else case.find("failure")
            seen = None if wrong is None else " ".join((wrong.text or "").split("\n")[-1].split())
            found[f"{suite.get('package')}/{number}"] = (case.get("classname"), seen)
    return found


def h2spec(site):
    binary, failures, tried, lines = os.environ["H2SPEC_BIN"], {}, 0, []
    for way, options in (("tls", ["-t", "-k", "-p", site.tls]), ("h2c", ["-p", site.h2c])):
        for number in range(1, PASSES + 1):
            report = site.directory / f"h2spec-{way}-{number}.xml"
            run([binary, "-S", "-h", HOST, "-P", "/", "-j", report, *options], 300)
            found = cases(report)
            wrong = {id: case for id, case in found.items() if case[1]}
            for id, (name, seen) in wrong.items():
                failures.setdefault(f"{way} {id}", []).append((name, seen))
            tried = max(tried, len(found))
            lines.append(f"{way}, pass {number}: {len(found)} cases, {len(found) - len(wrong)} passed")
    return Outcome(
        run([binary, "--version"], 10)[1].strip(), 2 * tried,
        [Finding(id, "medium", f"{seen[0][0]}: saw {seen[0][1]}; in {len(seen)} of {PASSES} passes")
         for id, seen in failures.items()],
        lines, {"passes": PASSES, "failures": failures})

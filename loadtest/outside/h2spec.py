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
    binary, failures, tried, lines = os.environ["H2SPEC_BIN"], {}, {}, []
    for way, options in (("TLS", ["-t", "-k", "-p", site.tls]), ("h2c", ["-p", site.h2c])):
        for number in range(1, PASSES + 1):
            report = site.directory / f"h2spec-{way}-{number}.xml"
            run([binary, "-S", "-h", HOST, "-P", "/", "-j", report, *options], 300)
            found = cases(report)
            tried.update(found)
            wrong = {id: case for id, case in found.items() if case[1]}
            for id, (_, seen) in wrong.items():
                failures.setdefault(id, []).append(f"{way}, pass {number}: saw {seen}")
            lines.append(f"{way}, pass {number}: {len(found)} cases, {len(found) - len(wrong)} passed")
    return Outcome(
        f"h2spec {os.environ['H2SPEC_VERSION']}", len(tried),
        [Finding(id, "medium", "\n".join(f"{tried[id][0]}: {one}" for one in seen)) for id, seen in failures.items()],
        lines, {"passes": PASSES, "failures": failures})

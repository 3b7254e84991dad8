"""Runs the tools named on the command line, each against a Waypost of its own; keeps their output. See ../outside.sh."""
import importlib
import json
import os
import sys

import harness
from harness import Failure, say
from outside import findings
from outside.site import Site

MODULES = {"h2spec": "h2spec", "slowhttptest": "slow", "testssl": "scanners", "sslscan": "scanners", "h2load": "load",
           "curl": "curl", "chromium": "browser"}


def run_tool(tool, binary, directory):
    """Runs and keeps one tool; returns the sentences that fail the run."""
    say(f"{tool}:")
    module = importlib.import_module(f"outside.{MODULES[tool]}")
    site = Site(binary, directory / tool, getattr(module, "SHOP", "https://shop.example.com"))
    outcome = getattr(module, tool)(site)
    if site.stop() != 0:
        raise Failure(f"waypost ended with {site.child.returncode} after {tool}:\n{site.tail()}")
    if "panicked" in site.log.read_text(errors="replace"):
        raise Failure(f"waypost panicked under {tool}:\n{site.tail()}")
    verdict, failed = findings.judge(tool, outcome)
    setup = {key: value for key, value in harness.setup(binary).items() if key not in ("nginx", "wrk", "gcc")}
    setup["tool"] = outcome.version
    text = "\n".join([json.dumps(setup, indent=1), "", *outcome.lines, "", *verdict]) + "\n"
    print(text, flush=True)
    harness.archive(f"outside-{tool}", text, {
        "setup": setup, "cases": outcome.cases, "failed": failed, "findings": [vars(one) for one in outcome.findings],
        **outcome.record})
    return failed


def main(tools):
    harness.end_on_signal()
    findings.read_accepted()  # an error in the list fails the run at once
    directory, failed = harness.scratch_dir(), []
    for tool in tools:
        try:
            failed += run_tool(tool, os.environ["WAYPOST_BIN"], directory)
        except Failure as failure:
            failed.append(f"{tool}: {failure}")
    if failed:
        raise Failure("\n".join(failed))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Failure as failure:
        sys.exit(f"outside: {failure}")

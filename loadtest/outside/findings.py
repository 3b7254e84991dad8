"""What a tool found, and which of it is accepted: accepted.toml, each entry with its reason.

An entry names the tool, the findings' ids as the tool's module builds them, their severity and a reason. One that no longer occurs is
stale and fails the run, so that the list stays true; `sometimes = true` marks what depends on which of two ends is faster. `saw` is a
regular expression: the entry accepts a finding only while each line of it matches.
"""
import dataclasses
import pathlib
import re
import tomllib

from harness import Failure

SEVERITIES = ("info", "low", "medium", "high", "critical")
ACCEPTED = pathlib.Path(__file__).with_name("accepted.toml")


@dataclasses.dataclass
class Finding:
    """One complaint, a line each time it was seen; `severity` is the tool's own where it has one."""
    id: str
    severity: str
    text: str

    def counts(self):
        """Whether it fails a run when nobody accepted it."""
        return SEVERITIES.index(self.severity) >= SEVERITIES.index("medium")


@dataclasses.dataclass
class Outcome:
    """What one tool said: its version, how many cases it tried, what it found, and lines for the reader."""
    version: str
    cases: int
    findings: list
    lines: list
    record: dict


def read_accepted():
    """The entries by tool and id."""
    entries = {}
    for entry in tomllib.loads(ACCEPTED.read_text())["accepted"]:
        keys = {"tool", "ids", "severity", "reason"}
        if keys - entry.keys() or entry.keys() - keys - {"sometimes", "saw"}:
            raise Failure(f"{ACCEPTED.name}: {entry}: has {', '.join(sorted(keys))}, and may have sometimes and saw")
        if entry["severity"] not in SEVERITIES or len(entry["reason"].split()) < 5:
            raise Failure(f"{ACCEPTED.name}: {entry['ids']}: severity is one of {', '.join(SEVERITIES)}; a reason is a sentence")
        for id in entry["ids"]:
            if (entry["tool"], id) in entries:
                raise Failure(f"{ACCEPTED.name}: {entry['tool']}: {id} stands there twice")
            entries[entry["tool"], id] = entry
    return entries


def accepts(entry, finding):
    """Whether the entry is about this finding: no worse than it says, and looking as it says."""
    worse = SEVERITIES.index(finding.severity) > SEVERITIES.index(entry["severity"])
    return not worse and all(re.search(entry.get("saw", ""), line) for line in finding.text.splitlines())


def judge(tool, outcome):
    """The verdict as text, and the sentences that fail the run."""
    entries = {id: entry for (of, id), entry in read_accepted().items() if of == tool}
    lines, failed, met = [], [], set()
    for finding in sorted(outcome.findings, key=lambda one: (-SEVERITIES.index(one.severity), one.id)):
        entry = entries.get(finding.id)
        if entry and accepts(entry, finding):
            met.add(finding.id)
            verdict = f"accepted: {' '.join(entry['reason'].split())}"
        else:
            verdict = "NOT ACCEPTED" if finding.counts() else "below medium"
            if finding.counts():
                failed.append(f"{tool}: {finding.severity}: {finding.id}: {finding.text}")
        lines += [f"{finding.severity}: {finding.id}:", *(f"    {line}" for line in finding.text.splitlines()), f"    {verdict}"]
    for id, entry in entries.items():
        if id not in {finding.id for finding in outcome.findings} and not entry.get("sometimes"):
            failed.append(f"{tool}: {id}: accepted, but it does not occur: take it off {ACCEPTED.name}")
    lines.append(f"{outcome.cases} cases, {outcome.cases - len(outcome.findings)} passed, {len(met)} accepted, "
                 f"{len(failed)} failed")
    return lines + [f"FAILED: {one}" for one in failed], failed

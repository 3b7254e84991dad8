"""What schemathesis has to know beside the OpenAPI file: how values of our formats look, how lines are sent, and which
findings are none, each with its reason. A finding that no entry of EXCEPTIONS names fails the run."""

import json
import os
import string

import schemathesis
from hypothesis import strategies as st

ids = st.text(string.ascii_letters + string.digits + "_- äß中", min_size=1, max_size=32)
hosts = st.builds("{}.example.com".format, st.text(string.ascii_lowercase, min_size=1, max_size=12))
paths = st.lists(st.text(string.ascii_letters + string.digits + "~._-", max_size=8), max_size=3).map("/".join)
urls = st.builds("https://{}/{}".format, hosts, paths)

# Bounds in bytes, and rules of URLs, which JSON Schema cannot say.
for name, values in {
    "id": ids,
    "tag": ids,
    "suspended": ids,
    "host": hosts,
    "destination": urls,
    "fallback": urls,
    "domain": st.sampled_from(["*", "*", "*", "other.example.com"]),
    "cursor": st.just("cursor"),
    "served-host": hosts,
    "cookie-domain": st.just("example.com"),
    "token-param": st.sampled_from(["wp", "tk", "click"]),
    "next-hop-param": st.sampled_from(["url", "to", "redirection_url"]),
    "next-hop-host": st.sampled_from(["shop.example.com", "*.example.org", "a.example.net"]),
    "app-origin": st.builds("https://{}".format, hosts),
    "sub-name": st.from_regex(r"\Ax[a-z0-9]{1,16}\Z"),
    "asked": urls,
    "entity-tags": st.sampled_from(["*", '"1"', '"1", "2"', 'W/"3"']),
    "idempotency-key": st.builds('"{}"'.format, st.text(string.ascii_letters + string.digits, min_size=1, max_size=40)),
}.items():
    schemathesis.openapi.format(name, values)


@schemathesis.serializer("application/x-ndjson")
def write_lines(context, value):
    if isinstance(value, (bytes, str)):
        return value
    rows = value if isinstance(value, list) else [value]
    return "\n".join(json.dumps(row) for row in rows).encode()


@schemathesis.deserializer("application/x-ndjson")
def read_lines(context, response):
    return [json.loads(line) for line in response.content.decode().splitlines()]


@schemathesis.hook
def before_call(context, case, kwargs):
    # A long poll is a wait; a second of it is enough.
    if isinstance(case.query, dict) and case.query.get("wait") not in (None, "") and str(case.query["wait"]).isdigit():
        if 1 < int(case.query["wait"]) <= 60:
            case.query["wait"] = 1


@schemathesis.hook
def filter_case(context, case):
    # The run would revoke its own key, and fail from then on.
    return (case.path_parameters or {}).get("id") != os.environ["OWN_KEY_ID"]


# --- exceptions ------------------------------------------------------------------------------------------------------

# What JSON Schema cannot say of a body or a parameter: messages of refusals of data that is valid by the schema.
CANNOT_BE_SAID = {
    "is not after created_at": "a schema cannot compare two times",
    "is not before the link's end": "a schema cannot compare two times",
    "an hour in the future": "a schema does not know the clock",
    "lies before 1970": "a schema cannot bound a time",
    'has no meaning with "query":"drop"': "the allow-list depends on the policy of the query",
    "bytes of names": "a schema cannot add lengths",
    "floating point": "a schema takes 248.0 as an integer; a links file does not, and both have the same rules",
    "is none that this list gave": "a cursor is signed, so that none can be made up",
    "is not configured": "a server knows the domains of its configuration alone",
    "and the address says": "code and domain of a body are those of the address",
    "link must not have it": "a patch may not fit to the kind of its link",
    "link needs it": "a patch may not fit to the kind of its link",
    "is no URL": "a URL has more rules than a pattern",
    "needs a named host": "* has no cookie_domain",
    "does not cover": "cookie_domain depends on the host of the address",
    "needs app_resolves": "app_origins needs another setting",
    "where requests for": "a redirect may lead back to a domain of the run",
    "go in a circle": "a redirect may lead back to a domain of the run",
    "is false, and app_links": "app_links contradicts another setting",
    "names no app": "a schema of app_links would be longer than its rules",
    "application id": "a schema of app_links would be longer than its rules",
    "Android app": "a schema of app_links would be longer than its rules",
    "the hosts that have no section": "only * has this setting",
    "may be absent only with": "a patch removes created_at, or test, of a link that needs one of them",
    "only an affiliate creator": "a patch may not fit to the kind of its link",
}


def cannot_be_said(case, response):
    try:
        found = [error["message"] for error in response.json()["errors"]]
    except (ValueError, KeyError, TypeError):
        return False
    return bool(found) and all(any(text in message for text in CANNOT_BE_SAID) for message in found)


def rows_miss_their_links(case, response):
    if case.operation.label != "POST /v1/bulk":
        return False
    rows = [line for line in read_lines(None, response) if "line" in line]
    return all(row["status"] in (404, 409, 412) or cannot_be_said_of_row(row) for row in rows)


def cannot_be_said_of_row(row):
    found = [error["message"] for error in row["errors"]]
    return bool(found) and all(any(text in message for text in CANNOT_BE_SAID) for message in found)


def violates_formats_alone(message):
    """Our formats name what a schema cannot say, such as a bound in bytes; what breaks one is a guess of schemathesis."""
    found = [line for line in message.splitlines() if "violates" in line]
    return bool(found) and all("violates `format`" in line for line in found)


# Each: the finding, when it is none, and why.
EXCEPTIONS = [
    ("RejectedPositiveData", rows_miss_their_links, "mode=atomic answers 422 if any row names a link that is not there"),
    ("RejectedPositiveData", cannot_be_said, "see CANNOT_BE_SAID"),
    (
        "RejectedPositiveData",
        lambda case, response: b'"urn:waypost:problem:idempotency-key-reused"' in response.content,
        "a made-up key may be that of an earlier request",
    ),
    (
        "AcceptedNegativeData",
        lambda case, response: case.operation.label == "POST /v1/patches" and response.status_code in (200, 202),
        "the values of a patch by filter are checked for each link, by its own rules; the report tells what is refused",
    ),
    (
        "AcceptedNegativeData",
        lambda case, response: case.operation.label == "POST /v1/bulk" and b'"line":' in response.content,
        "mode=each answers 200 with a line for each refused row",
    ),
    (
        "UseAfterFree",
        lambda case, response: b'"source":"default"' in response.content,
        "the domain * is always there; without settings it has the defaults",
    ),
    (
        "UseAfterFree",
        lambda case, response: case.operation.label.endswith("/history"),
        "a removed link has a history",
    ),
]


@schemathesis.hook
def filter_failure(context, failure, case, response):
    kind = type(failure).__name__
    if kind == "AcceptedNegativeData" and violates_formats_alone(str(failure)):
        return False
    return not any(kind == known and applies(case, response) for known, applies, _ in EXCEPTIONS)

"""The value of a click record as a dictionary, whichever encoding its edge writes (kafka.encoding). Standard library only.

A topic can have both, as edges are changed one after the other. A JSON object begins with `{`, which no click in Protobuf does. The
numbers and types of fields are those of deploy/schemas/click.v1.schema.json, from which click.v1.proto is generated.
"""
import json
import pathlib

SCHEMA = pathlib.Path(__file__).resolve().parents[2] / "schemas" / "click.v1.schema.json"
#: Field number → name and description.
FIELDS = {field["x-field-number"]: (name, field)
          for name, field in json.loads(SCHEMA.read_text(encoding="utf-8"))["properties"].items()}
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FIXED_LENGTH = {FIXED64: 8, FIXED32: 4}


def read_click_value(value):
    """The event of a record's value; ValueError if the value is neither JSON nor a click in Protobuf."""
    if value[:1] == b"{":
        return json.loads(value)
    # A schema registry's prefix: a zero byte, the schema's id in four bytes, and the index of the message, 0.
    return read_message(value[6:] if value[:1] == b"\0" else value)


def read_message(value):
    """The known fields of a message; a later version's are skipped."""
    event, at = {}, 0
    while at < len(value):
        tag, at = read_varint(value, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == VARINT:
            content, at = read_varint(value, at)
        elif wire_type == BYTES:
            length, at = read_varint(value, at)
            content, at = take(value, at, length)
        elif wire_type in FIXED_LENGTH:
            content, at = take(value, at, FIXED_LENGTH[wire_type])
        else:
            raise ValueError(f"byte {at}: wire type {wire_type} is none of Protobuf")
        if number in FIELDS:
            name, field = FIELDS[number]
            event[name] = typed(content, wire_type, field)
    return event


def typed(content, wire_type, field):
    if wire_type == BYTES:
        return content.decode()
    return bool(content) if field.get("type") == "boolean" else content


def take(value, at, length):
    if at + length > len(value):
        raise ValueError(f"byte {at}: {length} bytes are announced, {len(value) - at} are left")
    return value[at:at + length], at + length


def read_varint(value, at):
    number = shift = 0
    while True:
        if at == len(value) or shift > 63:
            raise ValueError(f"byte {at}: a number does not end")
        byte = value[at]
        number |= (byte & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at

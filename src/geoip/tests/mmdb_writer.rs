//! Writes MMDB files for tests, so that no test needs a database that somebody licences. Follows the format's
//! description, version 2.0: a tree of networks, sixteen zero bytes, the records, a marker and the metadata.
//!
//! The integration tests include this file too.

use std::{collections::HashMap, net::IpAddr};

use serde_json::{Value, json};

const SEPARATOR: [u8; 16] = [0; 16];
const METADATA_MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

// The types of values.
const POINTER: u8 = 1;
const TEXT: u8 = 2;
const U16: u8 = 5;
const U32: u8 = 6;
const MAP: u8 = 7;
const U64: u8 = 9;
const ARRAY: u8 = 11;
const BOOLEAN: u8 = 14;

/// What follows a bit of an address.
#[derive(Clone, Copy, PartialEq)]
enum Child {
    /// No record.
    None,
    Node(usize),
    /// The offset of a record among the records.
    Record(usize),
}

/// A database with networks and their records.
pub(crate) struct MmdbWriter {
    /// 4 or 6. A database of version 6 holds IPv4 below `::/96`.
    pub(crate) ip_version: u8,
    /// Bits of a record in a node: 24, 28 or 32.
    pub(crate) record_size: u16,
    /// What the database calls itself.
    pub(crate) database_type: String,
    /// Seconds since the epoch.
    pub(crate) built_at_secs: u64,
    /// Address, length of the prefix, and record. Of two networks that hold an address the longer prefix counts, of
    /// equal ones the last.
    pub(crate) networks: Vec<(IpAddr, u8, Value)>,
}

impl MmdbWriter {
    /// A database of this type for both versions of IP. `networks` are written like `192.0.2.0/24`.
    pub(crate) fn new(database_type: &str, networks: &[(&str, Value)]) -> MmdbWriter {
        let parse = |(network, record): &(&str, Value)| {
            let (address, prefix) = network.split_once('/').unwrap();
            (address.parse().unwrap(), prefix.parse().unwrap(), record.clone())
        };
        MmdbWriter {
            ip_version: 6,
            record_size: 24,
            database_type: database_type.to_owned(),
            built_at_secs: 1_795_000_000,
            networks: networks.iter().map(parse).collect(),
        }
    }

    /// The bytes of the file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut records = Records::default();
        let mut tree = vec![[Child::None; 2]];
        let mut networks: Vec<_> = self.networks.iter().map(|network| self.bits_of(network)).collect();
        networks.sort_by_key(|(_, prefix, _)| *prefix);
        for (bits, prefix, record) in networks {
            insert(&mut tree, bits, prefix, Child::Record(records.push_once(record)));
        }
        self.alias_mapped_addresses(&mut tree);
        let mut bytes = self.encode_tree(&tree);
        bytes.extend(SEPARATOR);
        bytes.extend(records.bytes);
        bytes.extend(METADATA_MARKER);
        self.push_metadata(tree.len(), &mut bytes);
        bytes
    }

    /// The network's first bits, left-aligned, and how many count.
    fn bits_of<'w>(&self, (address, prefix, record): &'w (IpAddr, u8, Value)) -> (u128, u8, &'w Value) {
        match (address, self.ip_version) {
            (IpAddr::V4(v4), 4) => (u128::from(v4.to_bits()) << 96, *prefix, record),
            (IpAddr::V4(v4), _) => (u128::from(v4.to_bits()), prefix + 96, record),
            (IpAddr::V6(v6), _) => (v6.to_bits(), *prefix, record),
        }
    }

    /// As published databases do: `::ffff:0:0/96` is the same branch as IPv4.
    fn alias_mapped_addresses(&self, tree: &mut Vec<[Child; 2]>) {
        let mut node = 0;
        for _ in 0..96 {
            match tree[node][0] {
                Child::Node(next) if self.ip_version == 6 => node = next,
                _ => return,
            }
        }
        insert(tree, 0xffff << 32, 96, Child::Node(node));
    }

    fn encode_tree(&self, tree: &[[Child; 2]]) -> Vec<u8> {
        let number = |child: Child| match child {
            Child::None => tree.len(),
            Child::Node(node) => node,
            Child::Record(offset) => tree.len() + SEPARATOR.len() + offset,
        };
        let mut bytes = Vec::new();
        for [left, right] in tree {
            let (left, right) = (number(*left) as u32, number(*right) as u32);
            let ([a, l @ ..], [b, r @ ..]) = (left.to_be_bytes(), right.to_be_bytes());
            match self.record_size {
                24 => bytes.extend([l, r].concat()),
                28 => bytes.extend([&l[..], &[a << 4 | b], &r].concat()),
                _ => bytes.extend([left.to_be_bytes(), right.to_be_bytes()].concat()),
            }
        }
        bytes
    }

    fn push_metadata(&self, node_count: usize, out: &mut Vec<u8>) {
        let numbers = [
            ("binary_format_major_version", U16, 2),
            ("binary_format_minor_version", U16, 0),
            ("build_epoch", U64, self.built_at_secs),
            ("ip_version", U16, u64::from(self.ip_version)),
            ("node_count", U32, node_count as u64),
            ("record_size", U16, u64::from(self.record_size)),
        ];
        let others = [
            ("database_type", json!(self.database_type)),
            ("description", json!({"en": "made by a test"})),
            ("languages", json!(["en"])),
        ];
        let mut never_before = |_: &str, _| None;
        push_control(MAP, numbers.len() + others.len(), out);
        for (key, number_type, number) in numbers {
            push_text(key, out, &mut never_before);
            push_number(number_type, number, out);
        }
        for (key, value) in others {
            push_text(key, out, &mut never_before);
            push_value(&value, out, &mut never_before);
        }
    }
}

/// Puts a child at the end of a prefix. A record on the way is moved down to both sides.
fn insert(tree: &mut Vec<[Child; 2]>, bits: u128, prefix: u8, child: Child) {
    // The root is a node always.
    if prefix == 0 {
        tree[0] = [child; 2];
        return;
    }
    let mut node = 0;
    for depth in 0..prefix {
        let side = usize::from(bits >> (127 - depth) & 1 == 1);
        if depth + 1 == prefix {
            tree[node][side] = child;
            return;
        }
        node = match tree[node][side] {
            Child::Node(next) => next,
            above => {
                tree.push([above; 2]);
                let next = tree.len() - 1;
                tree[node][side] = Child::Node(next);
                next
            }
        };
    }
}

/// The records, each written once. A text that was written before becomes a pointer.
#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
    offsets: HashMap<String, usize>,
    texts: HashMap<String, usize>,
}

impl Records {
    fn push_once(&mut self, record: &Value) -> usize {
        let Records { bytes, offsets, texts } = self;
        *offsets.entry(record.to_string()).or_insert_with(|| {
            let offset = bytes.len();
            push_value(record, bytes, &mut |text, at| match texts.get(text) {
                Some(offset) => Some(*offset),
                None => {
                    texts.insert(text.to_owned(), at);
                    None
                }
            });
            offset
        })
    }
}

/// Appends a value. `written_before` gives the offset of a text that stands among the records already.
fn push_value(value: &Value, out: &mut Vec<u8>, written_before: &mut impl FnMut(&str, usize) -> Option<usize>) {
    match value {
        Value::String(text) => push_text(text, out, written_before),
        Value::Bool(value) => push_control(BOOLEAN, usize::from(*value), out),
        Value::Number(number) => push_number(U32, number.as_u64().unwrap(), out),
        Value::Array(values) => {
            push_control(ARRAY, values.len(), out);
            values.iter().for_each(|value| push_value(value, out, written_before));
        }
        Value::Object(fields) => {
            push_control(MAP, fields.len(), out);
            for (key, value) in fields {
                push_text(key, out, written_before);
                push_value(value, out, written_before);
            }
        }
        Value::Null => unreachable!("MMDB has no null"),
    }
}

fn push_text(text: &str, out: &mut Vec<u8>, written_before: &mut impl FnMut(&str, usize) -> Option<usize>) {
    match written_before(text, out.len()) {
        Some(offset) => {
            // A pointer with four bytes.
            out.push(POINTER << 5 | 3 << 3);
            out.extend((offset as u32).to_be_bytes());
        }
        None => {
            push_control(TEXT, text.len(), out);
            out.extend(text.as_bytes());
        }
    }
}

/// Appends an unsigned integer without its leading zeros.
fn push_number(number_type: u8, number: u64, out: &mut Vec<u8>) {
    let bytes: Vec<u8> = number.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    push_control(number_type, bytes.len(), out);
    out.extend(bytes);
}

/// Appends the bytes in front of a value: its type and its size.
fn push_control(value_type: u8, size: usize, out: &mut Vec<u8>) {
    let (short, size_bytes) = match size {
        0..29 => (size as u8, vec![]),
        29..285 => (29, vec![(size - 29) as u8]),
        _ => (30, ((size - 285) as u16).to_be_bytes().to_vec()),
    };
    match value_type {
        1..8 => out.push(value_type << 5 | short),
        _ => out.extend([short, value_type - 7]),
    }
    out.extend(size_bytes);
}

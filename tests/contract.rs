//! The contract with readers and shops: the schemas in `deploy/schemas`, and what is generated from them.
//!
//! A schema is the one description of a record: JSON Schema, with the number that each field has in Protobuf
//! (`x-field-number`), the name of each inner message (`x-message`) and whether a list of values may grow
//! (`x-enum-may-grow`). From it come the Protobuf file, the Avro schema and `docs/events.md`.
//! `WAYPOST_WRITE_DOCS=1 cargo test --test contract --test events_page` writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "contract/asyncapi.rs"]
mod asyncapi;
#[path = "contract/avro.rs"]
mod avro;
#[path = "contract/cases.rs"]
mod cases;
#[path = "contract/compatibility.rs"]
mod compatibility;
#[path = "contract/consumers.rs"]
mod consumers;
#[path = "contract/description.rs"]
mod description;
#[path = "contract/generated.rs"]
mod generated;
#[path = "contract/protobuf.rs"]
mod protobuf;

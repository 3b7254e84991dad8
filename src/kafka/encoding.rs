//! How values and headers of records are written: the keys `kafka.encoding`, `kafka.schema_id` and `kafka.cloudevents`.

use serde::{Deserialize, Serialize};

/// The encoding of clicks and stubs. Lane statements and checkpoints are JSON: they are few.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Flat JSON.
    #[default]
    Json,
    /// `deploy/schemas/click.v1.proto`, half as many bytes. Readers tell it from JSON by the first byte.
    Protobuf,
}

impl Encoding {
    /// The media type of a value, for the header `content-type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Protobuf => "application/protobuf",
        }
    }
}

//! Reads an event into the values of the columns.

use std::{borrow::Cow, collections::HashMap, fmt, sync::LazyLock};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::columns::{COLUMNS, ColumnType, OTHER_FIELDS};

/// The value of a column in one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell<'a> {
    Null,
    /// The value of a column of numbers or times.
    Integer(i64),
    Boolean(bool),
    Text(Cow<'a, str>),
}

/// The number of a column by its name. Fields of the event alone: a field named `other_fields` has no column.
static COLUMN_NUMBERS: LazyLock<HashMap<&str, usize, foldhash::fast::FixedState>> = LazyLock::new(|| {
    let fields = COLUMNS.iter().enumerate().filter(|(_, (name, _))| *name != OTHER_FIELDS);
    fields.map(|(number, (name, _))| (*name, number)).collect()
});

/// Reads an event, which is one JSON object, into a row: a cell for each of [`COLUMNS`]. A field without a column, or
/// whose value does not fit its column, goes to `other_fields`.
///
/// # Errors
/// The event is no JSON object.
pub(super) fn read_row(event: &[u8]) -> Result<Vec<Cell<'_>>, serde_json::Error> {
    serde_json::from_slice::<Row<'_>>(event).map(|row| row.0)
}

struct Row<'a>(Vec<Cell<'a>>);

/// The name of a field; borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Row<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Row<'de>, D::Error> {
        struct RowVisitor;
        impl<'de> Visitor<'de> for RowVisitor {
            type Value = Row<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event, which is a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut event: A) -> Result<Row<'de>, A::Error> {
                let (mut cells, mut others) = (vec![Cell::Null; COLUMNS.len()], String::new());
                while let Some((Name(name), value)) = event.next_entry::<Name<'de>, &'de RawValue>()? {
                    let number = COLUMN_NUMBERS.get(&*name).copied();
                    match number.and_then(|number| Some((number, read_cell(COLUMNS[number].1, value.get())?))) {
                        Some((number, cell)) => cells[number] = cell,
                        None => append_other_field(&mut others, &name, value),
                    }
                }
                if let (false, Some(last)) = (others.is_empty(), cells.last_mut()) {
                    *last = Cell::Text(format!("{{{others}}}").into());
                }
                Ok(Row(cells))
            }
        }
        deserializer.deserialize_map(RowVisitor)
    }
}

fn append_other_field(others: &mut String, name: &str, value: &RawValue) {
    if !others.is_empty() {
        others.push(',');
    }
    others.push_str(&serde_json::Value::from(name).to_string());
    others.push(':');
    others.push_str(value.get());
}

/// The cell of a JSON value; `None` if the value does not fit the column.
fn read_cell(column_type: ColumnType, json: &str) -> Option<Cell<'_>> {
    if json == "null" {
        return Some(Cell::Null);
    }
    match column_type {
        ColumnType::Text if json.starts_with('"') => match json[1..json.len() - 1].contains('\\') {
            false => Some(Cell::Text(json[1..json.len() - 1].into())),
            true => serde_json::from_str::<String>(json).ok().map(|text| Cell::Text(text.into())),
        },
        ColumnType::Text => None,
        ColumnType::Int32 => json.parse::<i32>().ok().map(|number| Cell::Integer(number.into())),
        ColumnType::Int64 | ColumnType::TimestampMs => json.parse().ok().map(Cell::Integer),
        ColumnType::Boolean => json.parse().ok().map(Cell::Boolean),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell<'r>(row: &'r [Cell<'_>], name: &str) -> &'r Cell<'r> {
        &row[COLUMNS.iter().position(|(column, _)| *column == name).unwrap()]
    }

    #[test]
    fn every_field_of_an_event_is_in_its_column_or_among_the_others() {
        let event = r#"{"type":"click","lane":1,"rate_bp":4294967296,"clicked_at_ms":1795000000123,"countable":true,
            "destination":"https:\/\/a\u00e9\"b","sub1":null,"new_field":{"a":[1]},"other_fields":"x","code":7}"#;
        let row = read_row(event.as_bytes()).unwrap();
        assert_eq!(cell(&row, "type"), &Cell::Text("click".into()));
        assert_eq!(cell(&row, "lane"), &Cell::Integer(1));
        assert_eq!(cell(&row, "clicked_at_ms"), &Cell::Integer(1_795_000_000_123));
        assert_eq!(cell(&row, "countable"), &Cell::Boolean(true));
        assert_eq!(cell(&row, "destination"), &Cell::Text("https://aé\"b".into()));
        for null in ["sub1", "edge", "rate_bp", "code"] {
            assert_eq!(cell(&row, null), &Cell::Null, "{null}");
        }
        let others = r#"{"rate_bp":4294967296,"new_field":{"a":[1]},"other_fields":"x","code":7}"#;
        assert_eq!(cell(&row, OTHER_FIELDS), &Cell::Text(others.into()));
        assert!(read_row(b"[1]").is_err());
    }
}

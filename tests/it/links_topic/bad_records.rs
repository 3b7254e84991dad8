//! bad_records

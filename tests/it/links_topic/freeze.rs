//! freeze

//! Why a request has not the shape of a route.

use crate::word_enum::word_enum;

word_enum! {
    /// Why a request has not a route's shape.
    pub enum RouteMismatch {
        /// The path is another one.
        Path = "unknown",
        /// A value of the code is missing or empty.
        Incomplete = "incomplete",
        /// A value of the code is given several times, and not the same each time.
        Ambiguous = "ambiguous",
        /// A value of the code holds a character that stands between two values.
        Joiner = "joiner",
        /// A value of the code holds a character that no code has, or one that stands for another character.
        Character = "character",
        /// The code would be longer than a code can be.
        Long = "long",
    }
}

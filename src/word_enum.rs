//! `word_enum!`: an enum whose variants each have one word, for events, metrics and output. The words stand beside the
//! variants, so none can be missing or in the wrong order.

/// Makes a fieldless enum with `ALL` (every variant, in the order of its number), `as_str` (the variant's word) and
/// `from_word`.
///
/// A variant without a doc comment is documented by its word.
macro_rules! word_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        $vis enum $name { $($(#[$vmeta])* #[doc = concat!("`", $word, "`")] $variant),* }

        impl $name {
            /// Every value, in the order of its number.
            $vis const ALL: [$name; [$($word),*].len()] = [$($name::$variant),*];
            /// The word in events, metrics and output.
            $vis const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }
            /// The value of a word; `None` if no value has it.
            #[allow(dead_code, reason = "not every enum is read from words")]
            $vis fn from_word(word: &str) -> Option<$name> {
                $name::ALL.into_iter().find(|value| value.as_str() == word)
            }
        }
    };
}

pub(crate) use word_enum;

#[cfg(test)]
mod tests {
    word_enum! {
        /// An example.
        enum Example { First = "first", Second = "second-one" }
    }

    #[test]
    fn all_lists_the_variants_in_the_order_of_their_numbers() {
        assert_eq!(Example::ALL.map(|example| example as usize), [0, 1]);
        assert_eq!(Example::ALL.map(Example::as_str), ["first", "second-one"]);
        assert_eq!(["first", "second-one"].map(Example::from_word), Example::ALL.map(Some));
        assert_eq!(Example::from_word("First"), None);
    }
}

//! Makes codes for links that are created without one.

use rand::{RngExt, rngs::StdRng};

/// Symbols that are not taken for one another on a screen or on paper.
const MIXED: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghkmnpqrstuvwxyz";
const LOWER: &[u8] = b"23456789abcdefghkmnpqrstuvwxyz";
/// With 54 symbols that are 7 * 10^13 codes, with 30 they are 6 * 10^11.
const LEN: usize = 8;
/// Words that no code holds, in lower case, with figures read as the letters that they look like.
const WORDS: &str = include_str!("mint_words.txt");

/// A random code of [`LEN`] symbols without an offensive word.
pub(super) fn mint_code(random: &mut StdRng, ignores_case: bool) -> String {
    let symbols = if ignores_case { LOWER } else { MIXED };
    loop {
        let code: String = (0..LEN).map(|_| char::from(symbols[random.random_range(0..symbols.len())])).collect();
        if !holds_offensive_word(&code) {
            return code;
        }
    }
}

fn holds_offensive_word(code: &str) -> bool {
    let folded: String = code.chars().map(fold_look_alike).collect();
    WORDS.lines().any(|word| folded.contains(word))
}

fn fold_look_alike(symbol: char) -> char {
    match symbol.to_ascii_lowercase() {
        '4' => 'a',
        '3' => 'e',
        '5' => 's',
        '7' => 't',
        '8' => 'b',
        '9' | '6' => 'g',
        'v' => 'u',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_code_has_eight_symbols_that_nobody_mixes_up() {
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..2_000 {
            for (ignores_case, symbols) in [(false, MIXED), (true, LOWER)] {
                let code = mint_code(&mut random, ignores_case);
                assert!(code.len() == LEN && code.bytes().all(|byte| symbols.contains(&byte)), "{code}");
            }
        }
        assert!(!MIXED.iter().any(|symbol| b"0O1Ilijo".contains(symbol)));
    }

    #[test]
    fn a_word_is_found_behind_look_alikes() {
        for code in ["xFUCKxyz", "xxs3Xxx2", "22A55222"] {
            assert!(holds_offensive_word(code), "{code}");
        }
        assert!(!holds_offensive_word("7Kq2ZpXa"));
        assert!(WORDS.lines().all(|word| word.len() >= 3 && word.chars().map(fold_look_alike).eq(word.chars())));
    }
}

//! The user agent without what tells one phone from another, for clicks that must not identify a person.

/// The most bytes of a user agent that are read.
const MAX_AGENT_LEN: usize = 1024;

/// Versions of more digits than this are builds, which few phones share.
const MAX_VERSION_DIGITS: usize = 3;

/// Appends a user agent whose versions are cut to their first number, and whose words have no digits:
/// `Chrome/131.0.6778` becomes `Chrome/131`, the model `SM-S918N` becomes `SM-SN`. What the agent is, and of which app,
/// stays readable.
pub fn push_reduced_agent(user_agent: &[u8], out: &mut Vec<u8>) {
    let mut rest = &user_agent[..user_agent.len().min(MAX_AGENT_LEN)];
    let mut previous = b' ';
    while let [byte, behind @ ..] = rest {
        if !byte.is_ascii_digit() {
            out.push(*byte);
            (previous, rest) = (*byte, behind);
            continue;
        }
        let (number, behind) = split_leading_digits(rest);
        let is_in_word = previous.is_ascii_alphabetic() || behind.first().is_some_and(u8::is_ascii_alphabetic);
        if !is_in_word && number.len() <= MAX_VERSION_DIGITS {
            out.extend_from_slice(number);
        }
        rest = skip_lower_parts_of_version(behind);
        previous = b'0';
        // `15E148`: what follows belongs to the same word.
        if is_in_word && rest.first().is_some_and(u8::is_ascii_alphabetic) {
            previous = b'E';
        }
    }
}

fn split_leading_digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len()))
}

/// The text behind `.0.6778` or `_5_1`.
fn skip_lower_parts_of_version(mut text: &[u8]) -> &[u8] {
    while let [b'.' | b'_' | b',', behind @ ..] = text
        && behind.first().is_some_and(u8::is_ascii_digit)
    {
        text = split_leading_digits(behind).1;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduced(agent: &str) -> String {
        let mut out = Vec::new();
        push_reduced_agent(agent.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn versions_are_cut_to_their_first_number_and_models_and_builds_are_dropped() {
        assert_eq!(
            reduced(
                "Mozilla/5.0 (Linux; Android 14; SM-S918N Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML, like \
                 Gecko) Version/4.0 Chrome/131.0.6778.135 Mobile Safari/537.36 Instagram 361.0.0.46.88 Android \
                 (34/14; 450dpi; 1080x2115; samsung; SM-S918N; 674675155)"
            ),
            "Mozilla/5 (Linux; Android 14; SM-SN Build/UPA.; wv) AppleWebKit/537 (KHTML, like Gecko) Version/4 \
             Chrome/131 Mobile Safari/537 Instagram 361 Android (34/14; dpi; x; samsung; SM-SN; )"
        );
        assert_eq!(
            reduced("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) Mobile/15E148 Safari/604.1"),
            "Mozilla/5 (iPhone; CPU iPhone OS 17 like Mac OS X) Mobile/E Safari/604"
        );
        assert_eq!(reduced("curl/8.7.1"), "curl/8");
        assert_eq!(reduced(""), "");
    }
}

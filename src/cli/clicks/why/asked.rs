//! What is asked for: a click's id, or a token that names it.

use std::path::Path;

use serde::Serialize;

use crate::attribution::{
    keys::Keyring,
    mint::ClickId,
    token::{self, Payload, TokenError, UrlFlags},
};

/// A click id, or a token and the id that it claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    id: ClickId,
    token: Option<String>,
}

/// What is known of the token that was asked with.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Token {
    /// `valid`, `not_checked` where no key ring is at hand, or why it is not valid.
    pub(super) verdict: &'static str,
    /// `cookie` or `url`, once a key has shown which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    /// Its click was answered while nothing could be written down: there is no event to find.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) unjournaled: bool,
    /// What to know before it is believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) warning: Option<String>,
}

impl Asked {
    /// Reads the argument.
    ///
    /// # Errors
    /// It is neither; the message says what was expected.
    pub(super) fn parse(text: &str) -> Result<Asked, String> {
        let text = text.trim();
        if text.starts_with("v1.") {
            let id =
                token::claimed_click_id(text.as_bytes()).ok_or("not a token that names a click: damaged or cut?")?;
            return Ok(Asked { id: ClickId(id), token: Some(text.to_owned()) });
        }
        let id = ClickId::parse(text.as_bytes()).filter(|id| is_minted(*id));
        let id = id.ok_or("expected a click id (a UUID of version 7) or a token (v1.…)")?;
        Ok(Asked { id, token: None })
    }

    pub(super) fn id(&self) -> ClickId {
        self.id
    }

    /// Checks the token, if it is one, with the ring in this file. One that is not genuine is searched for all the same:
    /// its click may be, and then somebody has tampered with it.
    pub(super) fn token(&self, ring: &Path, now_ms: u64) -> Option<Token> {
        let token = self.token.as_ref()?;
        let none = Token { verdict: "not_checked", kind: None, unjournaled: false, warning: None };
        let ring = match Keyring::load(ring) {
            Ok(ring) => ring,
            Err(why) => {
                let warning = format!("the token was not checked, anybody may have written it: {why}");
                return Some(Token { warning: Some(warning), ..none });
            }
        };
        Some(match checked(&ring, token.as_bytes(), now_ms) {
            Ok((kind, unjournaled)) => match token::check_time(self.id.0, now_ms) {
                Ok(()) => Token { verdict: "valid", kind: Some(kind), unjournaled, warning: None },
                Err(why) => {
                    let warning = Some(format!("the token is genuine, but not valid any more: {why}"));
                    Token { verdict: why.as_str(), kind: Some(kind), unjournaled, warning }
                }
            },
            Err(why) => {
                let warning = format!("the token is NOT genuine, do not credit anything by it: {why}");
                Token { verdict: why.as_str(), warning: Some(warning), ..none }
            }
        })
    }
}

fn is_minted(id: ClickId) -> bool {
    uuid::Uuid::from_bytes(id.0).get_version() == Some(uuid::Version::SortRand)
}

/// Which carrier a genuine token was made for, and whether its click was never written down.
fn checked(ring: &Keyring, token: &[u8], now_ms: u64) -> Result<(&'static str, bool), TokenError> {
    let mut payload = Payload::default();
    if ring.inspect_cookie(now_ms, token, &mut payload).is_ok() {
        return Ok(("cookie", false));
    }
    let (url, _) = ring.inspect_url(now_ms, token, &mut payload)?;
    Ok(("url", url.flags.has(UrlFlags::UNJOURNALED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_of_a_click_or_a_whole_token_is_taken() {
        let id = "01a1dc80-f000-7505-8505-050505050505";
        assert_eq!(Asked::parse(&format!(" {id}\n")).unwrap().id().text(), *id.as_bytes().first_chunk().unwrap());
        assert!(Asked::parse(&id.to_uppercase()).is_ok());
        for wrong in ["", "abc", "01a1dc80-f000-4505-8505-050505050505", &id[1..], "v1.", "v1.nonsense", "v2.a.b.c"] {
            assert!(Asked::parse(wrong).is_err(), "{wrong}");
        }
    }
}

//! Tells preview fetchers by their user agent, for the answer: a chat or a feed that keeps the final URL of a preview
//! would hand the fetcher's click to every buyer.
//!
//! To judge an agent costs thousands of instructions, so a worker remembers its verdicts by the agent's hash.

use std::{
    fmt,
    hash::{BuildHasher, Hasher},
};

use crate::{client::user_agent::UserAgentMatcher, model::click::Text};

/// The bits of a hash that choose its place in the memo.
const MEMO_BITS: u32 = 12;
/// Verdicts that a worker remembers: 32 KiB.
const MEMO_LEN: usize = 1 << MEMO_BITS;

/// One worker's verdicts about user agents.
pub(super) struct PreviewFetchers {
    /// `None` if the table of known agents cannot be built. Then the delivery does not start either.
    matcher: Option<&'static UserAgentMatcher>,
    /// The hash of an agent; its lowest bit is the verdict. Two agents with one hash would share a verdict; the hash is
    /// seeded, so nobody can construct them.
    memo: Box<[u64; MEMO_LEN]>,
    hasher: foldhash::fast::RandomState,
}

impl Default for PreviewFetchers {
    fn default() -> PreviewFetchers {
        PreviewFetchers {
            matcher: UserAgentMatcher::shared().ok(),
            memo: Box::new([0; MEMO_LEN]),
            hasher: foldhash::fast::RandomState::default(),
        }
    }
}

impl fmt::Debug for PreviewFetchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreviewFetchers")
    }
}

impl PreviewFetchers {
    /// Whether the user agent is a preview fetcher's. Reads as much of it as the click keeps, so that the answer and
    /// the class in the event agree.
    pub(super) fn is_preview_fetcher(&mut self, user_agent: &[u8]) -> bool {
        let user_agent = &user_agent[..user_agent.len().min(Text::MAX_LENS[Text::UserAgent as usize])];
        let mut hasher = self.hasher.build_hasher();
        hasher.write(user_agent);
        let hash = hasher.finish();
        // This hash mixes its upper bits best.
        let remembered = &mut self.memo[(hash >> (u64::BITS - MEMO_BITS)) as usize];
        if *remembered | 1 != hash | 1 {
            let is_fetcher = self.matcher.is_some_and(|matcher| matcher.is_preview_fetcher(user_agent));
            *remembered = hash & !1 | u64::from(is_fetcher);
        }
        *remembered & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_gets_the_same_verdict_each_time_and_beside_any_other() {
        let mut fetchers = PreviewFetchers::default();
        let person = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Instagram 330.0";
        for round in 0..3 {
            assert!(fetchers.is_preview_fetcher(b"facebookexternalhit/1.1"), "{round}");
            assert!(!fetchers.is_preview_fetcher(b""), "{round}");
            // More agents than verdicts fit.
            for number in 0..2 * MEMO_LEN {
                assert!(!fetchers.is_preview_fetcher(format!("{person}.{number}").as_bytes()), "{round} {number}");
                let fetcher = format!("WhatsApp/2.23.{number}");
                assert!(fetchers.is_preview_fetcher(fetcher.as_bytes()), "{round} {number}");
            }
        }
    }

    #[test]
    fn what_the_click_does_not_keep_of_an_agent_is_not_read() {
        let mut fetchers = PreviewFetchers::default();
        let long = |spaces| format!("Mozilla/5.0 (X11; Linux x86_64){}Slackbot 1.0", " ".repeat(spaces));
        assert!(fetchers.is_preview_fetcher(long(400).as_bytes()));
        assert!(!fetchers.is_preview_fetcher(long(500).as_bytes()));
    }
}

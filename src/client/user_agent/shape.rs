//! The parts of a user agent: its platform remark (`(Linux; Android 14; SM-S921N)`), the model of a phone in it, and
//! the words behind. Offsets into the agent; no allocation.

use std::ops::Range;

/// A user agent and the offsets of its parts.
pub(super) struct AgentShape<'a> {
    agent: &'a [u8],
    /// What stands in the first pair of parentheses.
    platform: Range<usize>,
    /// What stands behind `Android` in the platform: the makers of phones choose these words.
    model: Range<usize>,
    /// Where the block begins that Facebook's apps append. It holds names of carriers and devices.
    facebook_block: usize,
}

impl<'a> AgentShape<'a> {
    /// The shape as far as parentheses tell it. Tokens tell the rest: `begin_model`, `begin_facebook_block`.
    pub(super) fn of(agent: &'a [u8]) -> AgentShape<'a> {
        let platform = match memchr::memchr(b'(', agent) {
            Some(open) => open + 1..find_closing_parenthesis_or_end(agent, open),
            None => 0..0,
        };
        AgentShape { agent, platform, model: 0..0, facebook_block: agent.len() }
    }

    /// The name of a phone's system ends at the offset: a model follows if this is in the platform.
    pub(super) fn begin_model(&mut self, at: usize) {
        if self.platform.contains(&at) && self.model.is_empty() {
            self.model = at..self.platform.end;
        }
    }

    pub(super) fn begin_facebook_block(&mut self, at: usize) {
        self.facebook_block = self.facebook_block.min(at);
    }

    pub(super) fn user_agent(&self) -> &'a [u8] {
        self.agent
    }

    pub(super) fn platform(&self) -> &'a [u8] {
        &self.agent[self.platform.clone()]
    }

    /// Whether the parenthesis of the platform is never closed: a part of the agent is lost.
    pub(super) fn is_platform_unclosed(&self) -> bool {
        !self.platform.is_empty() && self.platform.end == self.agent.len()
    }

    /// What follows the platform; empty without one.
    pub(super) fn products(&self) -> &'a [u8] {
        match self.platform.is_empty() {
            true => &[],
            false => self.agent.get(self.platform.end + 1..).unwrap_or_default(),
        }
    }

    /// Whether makers of phones or carriers choose the word at the offset.
    pub(super) fn is_in_device_name(&self, at: usize) -> bool {
        self.model.contains(&at) || at >= self.facebook_block
    }

    pub(super) fn is_in_model(&self, at: usize) -> bool {
        self.model.contains(&at)
    }

    /// Whether the agent starts with the app's token at the offset and tells the device.
    pub(super) fn is_own_agent_of_app(&self, at: usize) -> bool {
        at == 0 && !self.platform.is_empty() || at == 1 && self.agent.starts_with(b"[")
    }

    pub(super) fn is_in_platform(&self, at: usize) -> bool {
        self.platform.contains(&at)
    }

    pub(super) fn is_behind_platform(&self, at: usize) -> bool {
        at > self.platform.end
    }

    /// Whether the agent starts as every browser in use does, in-app browsers included. Opera Mini and the proxies of
    /// UC are the old exceptions; some clients put the agent in quotes, or lose its start.
    pub(super) fn has_browser_start(&self) -> bool {
        let agent = self.agent.strip_prefix(b"'").or_else(|| self.agent.strip_prefix(b"\"")).unwrap_or(self.agent);
        [&b"mozilla/"[..], b"ozilla/", b"opera/", b"ucweb/", b"applewebkit/"]
            .iter()
            .any(|start| agent.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start)))
    }

    /// Whether the agent contains the word, which begins with a lower-case letter, in either case. For what few agents
    /// are asked: a token costs every agent that has it.
    pub(super) fn contains(&self, word: &[u8]) -> bool {
        let (Some(first), agent) = (word.first(), self.agent) else { return true };
        memchr::memchr2_iter(*first, first.to_ascii_uppercase(), agent)
            .any(|at| agent.get(at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word)))
    }

    /// Whether no letter stands before and behind the range.
    pub(super) fn is_word(&self, range: &Range<usize>) -> bool {
        let is_letter_before = range.start > 0 && self.agent[range.start - 1].is_ascii_alphabetic();
        !is_letter_before && self.is_word_end(range.end)
    }

    /// Whether no letter stands at the offset.
    pub(super) fn is_word_end(&self, end: usize) -> bool {
        !self.agent.get(end).is_some_and(u8::is_ascii_alphabetic)
    }
}

fn find_closing_parenthesis_or_end(agent: &[u8], open: usize) -> usize {
    let mut depth = 1;
    for at in memchr::memchr2_iter(b'(', b')', &agent[open + 1..]) {
        let at = open + 1 + at;
        match agent[at] {
            b'(' => depth += 1,
            _ if depth == 1 => return at,
            _ => depth -= 1,
        }
    }
    agent.len()
}

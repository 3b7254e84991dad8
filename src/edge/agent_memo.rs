//! What a worker remembers of user agents, for links whose targets ask for the device, the app or the source: to judge
//! an agent costs thousands of instructions.

use std::{
    fmt,
    hash::{BuildHasher, Hasher},
};

use crate::{
    client::{
        device::Device,
        user_agent::{UserAgentMatcher, agent_traits::AgentTraits},
    },
    model::click::Text,
};

/// The bits of a hash that choose its place in the memo.
const MEMO_BITS: u32 = 10;

/// What is known of one agent.
#[derive(Clone, Copy)]
pub(super) struct JudgedAgent {
    pub(super) traits: AgentTraits,
    pub(super) device: Device,
}

/// One worker's judged agents. Empty until the first link asks.
#[derive(Default)]
pub(super) struct AgentMemo {
    /// The hash of an agent, seeded, so that nobody can construct two agents with one hash; and what the agent is.
    memo: Vec<(u64, JudgedAgent)>,
    hasher: foldhash::fast::RandomState,
}

impl fmt::Debug for AgentMemo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgentMemo")
    }
}

impl AgentMemo {
    /// What the agent is.
    pub(super) fn judge(&mut self, user_agent: &[u8]) -> JudgedAgent {
        if self.memo.is_empty() {
            self.memo = vec![(self.hash(b""), judge_agent(b"")); 1 << MEMO_BITS];
        }
        let hash = self.hash(user_agent);
        // This hash mixes its upper bits best.
        let remembered = &mut self.memo[(hash >> (u64::BITS - MEMO_BITS)) as usize];
        if remembered.0 != hash {
            *remembered = (hash, judge_agent(user_agent));
        }
        remembered.1
    }

    fn hash(&self, user_agent: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(user_agent);
        hasher.finish()
    }
}

/// As much of a header as the click keeps, so that the answer and the labels of the event agree.
pub(super) fn cut_as_click_keeps(header: &[u8], text: Text) -> &[u8] {
    &header[..header.len().min(Text::MAX_LENS[text as usize])]
}

#[cold]
fn judge_agent(user_agent: &[u8]) -> JudgedAgent {
    // Without its table the delivery does not start either.
    let matcher = UserAgentMatcher::shared().ok();
    JudgedAgent {
        traits: matcher.map(|matcher| matcher.find_agent_traits(user_agent)).unwrap_or_default(),
        device: Device::of_agent(user_agent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_remembered_as_it_was_judged_however_many_others_come_between() {
        let mut memo = AgentMemo::default();
        // Four times as many as the memo has places.
        let agents: Vec<String> = (0..4 << MEMO_BITS)
            .map(|number| match number % 3 {
                0 => format!("Mozilla/5.0 (iPhone; CPU iPhone OS 17_{number}) Instagram {number}"),
                1 => format!("Mozilla/5.0 (Linux; Android 14; SM-{number}; wv) Mobile [FB_IAB/FB4A;]"),
                _ => format!("curl/{number}"),
            })
            .collect();
        for agent in agents.iter().chain(&agents) {
            let (remembered, judged) = (memo.judge(agent.as_bytes()), judge_agent(agent.as_bytes()));
            let told = |agent: JudgedAgent| format!("{:?} {:?}", agent.device, agent.traits);
            assert_eq!(told(remembered), told(judged), "{agent}");
        }
    }
}

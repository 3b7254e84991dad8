//! Recognises user agents: machines by their form and by their names, and the apps whose webview an agent is.
//!
//! One Aho-Corasick automaton holds every token and is built once; one pass over a user agent finds all of them. Rules
//! come before names: a browser names its platform and its engine, a machine names itself, its address or its trade
//! ([`forms`]). A name tells the kind of a machine, or finds a tool that looks like a whole browser
//! ([`machine_tokens`]). Of several kinds the first in this order counts: probe, preview, bot, tool.
//!
//! An in-app browser (`FBAN/FBAV`, `Instagram 300…` after `Mozilla/5.0`) is a person; `facebookexternalhit`, or
//! `WhatsApp/2…` alone, is a preview.
//!
//! `tests/fixtures/agent_corpus` lists what others collected; `events` has the gate on it.

mod addresses;
pub(crate) mod agent_traits;
mod app_tokens;
mod form_tokens;
mod forms;
mod machine_tokens;
mod shape;
mod token;

use std::{ops::Range, sync::LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError, MatchKind};

use self::{
    agent_traits::{AgentKind, AgentTraits},
    forms::{is_old_browser_name, judge_form},
    shape::AgentShape,
    token::{Sign, Signs, TokenMeaning, TokenPlace},
};

/// The automaton over every token.
pub(crate) struct UserAgentMatcher {
    automaton: AhoCorasick,
    /// By the number of the token in the automaton.
    meanings: Vec<TokenMeaning>,
}

impl UserAgentMatcher {
    /// The process's matcher: it has no state, and takes 2.5 MB.
    ///
    /// # Errors
    /// The tokens are too many for the automaton, which a test would show.
    pub(crate) fn shared() -> Result<&'static UserAgentMatcher, BuildError> {
        static SHARED: LazyLock<Result<UserAgentMatcher, BuildError>> = LazyLock::new(UserAgentMatcher::new);
        SHARED.as_ref().map_err(BuildError::clone)
    }

    /// Builds the automaton.
    fn new() -> Result<UserAgentMatcher, BuildError> {
        let tables = || machine_tokens::TABLES.iter().chain(form_tokens::TABLES).chain([&app_tokens::APPS]);
        let rows = || tables().flat_map(|table| table.iter());
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(rows().map(|(token, _)| token))?;
        Ok(UserAgentMatcher { automaton, meanings: rows().map(|(_, meaning)| *meaning).collect() })
    }

    /// Whether the user agent fetches a page to draw a preview of it.
    pub(crate) fn is_preview_fetcher(&self, user_agent: &[u8]) -> bool {
        matches!(self.find_agent_traits(user_agent).kind, Some((AgentKind::Preview, _)))
    }

    /// Finds every token in a user agent, in one pass, and returns what they and the form of the agent say.
    pub(crate) fn find_agent_traits(&self, user_agent: &[u8]) -> AgentTraits {
        let mut reading = AgentReading::of(user_agent);
        for token in self.automaton.find_overlapping_iter(user_agent) {
            let row = token.pattern().as_usize();
            reading.take_token(row, self.meanings[row], token.start()..token.end());
        }
        let AgentReading { shape, signs, mut traits, app_row, starts_with_app } = reading;
        if let Some(TokenMeaning::WebviewOf(app)) = app_row.map(|row| self.meanings[row]) {
            traits.app = Some(app);
        }
        // A browser can contain the name of a library.
        let is_tool_in_browser = matches!(traits.kind, Some((AgentKind::Tool, _))) && shape.has_browser_start();
        if traits.kind.is_none() || is_tool_in_browser {
            traits.kind = judge_form(&shape, signs, starts_with_app);
        }
        traits
    }
}

/// What is known of an agent while its tokens are found, in the order of their ends.
struct AgentReading<'a> {
    shape: AgentShape<'a>,
    signs: Signs,
    traits: AgentTraits,
    /// The first row of a known app.
    app_row: Option<usize>,
    /// The agent is an app's own, without a browser's before: `Instagram 300…`, `[FBAN/…`.
    starts_with_app: bool,
}

impl<'a> AgentReading<'a> {
    fn of(user_agent: &'a [u8]) -> AgentReading<'a> {
        AgentReading {
            shape: AgentShape::of(user_agent),
            signs: Signs::default(),
            traits: AgentTraits::default(),
            app_row: None,
            starts_with_app: false,
        }
    }

    fn take_token(&mut self, row: usize, meaning: TokenMeaning, range: Range<usize>) {
        match meaning {
            // Of equal kinds the first token counts: a user agent names itself before it names other things.
            TokenMeaning::Machine(place, kind, reason) => {
                let is_greater = self.traits.kind.is_none_or(|(greatest, _)| kind > greatest);
                if is_greater && self.is_in_place(place, &range) {
                    self.traits.kind = Some((kind, reason));
                }
            }
            TokenMeaning::Sign(place, sign) => {
                if self.is_in_place(place, &range) {
                    self.signs.insert(sign);
                }
            }
            TokenMeaning::WebviewOf(_) => {
                self.app_row = Some(self.app_row.map_or(row, |first| first.min(row)));
                self.starts_with_app |= self.shape.is_own_agent_of_app(range.start);
            }
            TokenMeaning::Webview => self.traits.is_webview = true,
            TokenMeaning::PhoneSystem => {
                self.signs.insert(Sign::HandheldOrTv);
                self.shape.begin_model(range.end);
            }
            TokenMeaning::FacebookBlock => self.shape.begin_facebook_block(range.start),
        }
    }

    /// Whether the token at `range` stands where it means something.
    fn is_in_place(&self, place: TokenPlace, range: &Range<usize>) -> bool {
        let (shape, agent) = (&self.shape, self.shape.user_agent());
        match place {
            TokenPlace::Anywhere => true,
            TokenPlace::Start => range.start == 0,
            TokenPlace::WordEnd => {
                let is_model = shape.is_in_model(range.start) && agent.get(range.end) != Some(&b'/');
                let is_cubot = range.start >= 2 && agent[range.start - 2..range.start].eq_ignore_ascii_case(b"cu");
                shape.is_word_end(range.end) && !is_model && !is_cubot
            }
            TokenPlace::Word => shape.is_word(range) && !shape.is_in_model(range.start),
            TokenPlace::OutsideDevice => !shape.is_in_device_name(range.start),
            TokenPlace::OutsideToolbars => {
                let is_in_toolbars = self.signs.has(Sign::Explorer) && shape.is_in_platform(range.start);
                !shape.is_in_device_name(range.start) && !is_in_toolbars
            }
            TokenPlace::BehindPlatform => {
                !shape.is_in_device_name(range.start) && shape.is_behind_platform(range.start)
            }
            TokenPlace::BeforeCapital => agent.get(range.end).is_some_and(u8::is_ascii_uppercase),
            TokenPlace::BeforeMachineName => {
                let name = agent[range.end..].trim_ascii_start();
                !name.is_empty() && !is_old_browser_name(name)
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Names and versions of browsers and operating systems in user agents, by the data of the project uap-core
//! (`regexes.json` beside this file, see `NOTICE`). For labels of events: the expressions take some 11 MB of memory,
//! and the click path never uses them.

use std::sync::OnceLock;

use serde::Deserialize;
use ua_parser::{os, user_agent};

use crate::text::cut_at_character;

const REGEXES: &str = include_str!("regexes.json");
/// Longest name or version, bytes. A longer one is cut.
const MAX_TEXT_BYTES: usize = 64;

/// The file of expressions.
#[derive(Deserialize)]
struct Regexes {
    user_agent_parsers: Vec<user_agent::Parser<'static>>,
    os_parsers: Vec<os::Parser<'static>>,
}

/// The compiled expressions.
pub(crate) struct AgentVersions {
    browsers: user_agent::Extractor<'static>,
    systems: os::Extractor<'static>,
}

/// What a user agent names, in UTF-8. A text is empty if it names none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NamedVersions {
    /// The browser, or the app whose browser it is: `Mobile Safari`.
    pub(crate) browser: Vec<u8>,
    /// Its version, as much of it as the agent names: `17.5`.
    pub(crate) browser_version: Vec<u8>,
    /// The version of the operating system.
    pub(crate) os_version: Vec<u8>,
}

impl AgentVersions {
    /// The process's expressions, compiled at the first call, which takes some tenths of a second. `None` if the file
    /// is wrong; a test shows that it is not.
    pub(crate) fn shared() -> Option<&'static AgentVersions> {
        static SHARED: OnceLock<Option<AgentVersions>> = OnceLock::new();
        SHARED.get_or_init(AgentVersions::compile).as_ref()
    }

    fn compile() -> Option<AgentVersions> {
        let regexes: Regexes = serde_json::from_str(REGEXES).ok()?;
        let browsers = user_agent::Builder::new().push_all(regexes.user_agent_parsers).ok()?.build().ok()?;
        let systems = os::Builder::new().push_all(regexes.os_parsers).ok()?.build().ok()?;
        Some(AgentVersions { browsers, systems })
    }

    /// What a user agent names.
    pub(crate) fn find(&self, agent: &[u8]) -> NamedVersions {
        // The expressions are for text. Few agents are none.
        let agent = String::from_utf8_lossy(agent);
        let mut found = NamedVersions::default();
        if let Some(browser) = self.browsers.extract(&agent) {
            found.browser = cut_at_character(browser.family.as_bytes(), MAX_TEXT_BYTES).to_vec();
            found.browser_version = join([browser.major, browser.minor, browser.patch, browser.patch_minor]);
        }
        if let Some(os) = self.systems.extract(&agent) {
            let parts = [&os.major, &os.minor, &os.patch, &os.patch_minor];
            found.os_version = join(parts.map(|part| part.as_deref()));
        }
        found
    }
}

/// The parts of a version up to the first that is unknown, with dots between them.
fn join(parts: [Option<&str>; 4]) -> Vec<u8> {
    let known: Vec<&str> = parts.into_iter().map_while(|part| part.filter(|part| !part.is_empty())).collect();
    cut_at_character(known.join(".").as_bytes(), MAX_TEXT_BYTES).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_and_systems_of_user_agents_get_their_names_and_versions() {
        let versions = AgentVersions::shared().unwrap();
        for (agent, browser, browser_version, os_version) in [
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/17.5 Mobile/15E148 Safari/604.1",
                "Mobile Safari",
                "17.5",
                "17.5.1",
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile \
                 Safari/537.36",
                "Chrome Mobile",
                "126.0.0.0",
                "10",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0",
                "Firefox",
                "127.0",
                "10",
            ),
            ("unheard of", "", "", ""),
            ("", "", "", ""),
        ] {
            let text = |bytes: &str| bytes.as_bytes().to_vec();
            let (browser, browser_version, os_version) = (text(browser), text(browser_version), text(os_version));
            assert_eq!(
                versions.find(agent.as_bytes()),
                NamedVersions { browser, browser_version, os_version },
                "{agent}"
            );
        }
        let long = ["Firefox/", &"1".repeat(400), ".2"].concat();
        assert_eq!(versions.find(long.as_bytes()).browser_version, "1".repeat(64).as_bytes());
        versions.find(b"Mozilla/5.0 \xff\xfe (iPhone; CPU iPhone OS \xed\xa0");
    }
}

//! Labels of the device: its class, its operating system with version, and the browser with version. By the user agent
//! as the click keeps it, and by what the link's targets saw.

use std::hash::BuildHasher;

use super::{event_writer::EventWriter, field};
use crate::{
    client::{
        agent_versions::{AgentVersions, NamedVersions},
        device::Device,
    },
    model::click::{Click, Text},
};

/// Entries of the cache of a labeller.
const CACHE_LEN: usize = 2048;

/// What one user agent says.
#[derive(Clone, Debug)]
pub(super) struct AgentDevice {
    pub(super) device: Device,
    pub(super) versions: NamedVersions,
}

/// The labels of one click.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeviceLabels<'a> {
    /// A word of `DeviceClass`.
    pub(super) device: &'a [u8],
    /// A word of `Os`.
    pub(super) os: &'a [u8],
    /// The texts are empty if unknown.
    pub(super) os_version: &'a [u8],
    pub(super) browser: &'a [u8],
    pub(super) browser_version: &'a [u8],
}

impl DeviceLabels<'_> {
    /// Adds the fields; versions only if they are known.
    pub(super) fn add_fields(&self, writer: &mut impl EventWriter) {
        writer.add_text_unless_empty(field::DEVICE, self.device);
        writer.add_text_unless_empty(field::OS, self.os);
        writer.add_text_unless_empty(field::OS_VERSION, self.os_version);
        writer.add_text_unless_empty(field::BROWSER, self.browser);
        writer.add_text_unless_empty(field::BROWSER_VERSION, self.browser_version);
    }
}

/// Labels clicks, and remembers user agents: to judge one costs many times as much as the rest of an event.
pub(super) struct DeviceLabeller {
    versions: &'static AgentVersions,
    /// By the hash of the user agent. It is seeded, so nobody can construct two agents with one hash.
    cache: Vec<Option<(u64, AgentDevice)>>,
    hasher: foldhash::quality::RandomState,
}

impl DeviceLabeller {
    /// A labeller that has seen no click. The first one of a process compiles the expressions.
    pub(super) fn new() -> Option<DeviceLabeller> {
        let hasher = foldhash::quality::RandomState::default();
        Some(DeviceLabeller { versions: AgentVersions::shared()?, cache: vec![None; CACHE_LEN], hasher })
    }

    /// The labels of a click. A system and a class that the link's targets saw are taken from the click: they may have
    /// seen client hints, and an event does not name two.
    pub(super) fn label<'l>(&'l mut self, click: &Click<'l>) -> DeviceLabels<'l> {
        let AgentDevice { device, versions } = self.find_cached(click.text(Text::UserAgent));
        let seen = |name| click.target.and_then(|target| target.find_fact(name));
        let os = device.os.as_str().as_bytes();
        let seen_os = seen("os").unwrap_or(os);
        DeviceLabels {
            device: seen("device").unwrap_or(device.class.as_str().as_bytes()),
            os: seen_os,
            // The user agent's version is one of its own system.
            os_version: if seen_os == os { &versions.os_version } else { b"" },
            browser: &versions.browser,
            browser_version: &versions.browser_version,
        }
    }

    fn find_cached(&mut self, agent: &[u8]) -> &AgentDevice {
        let hash = self.hasher.hash_one(agent);
        let entry = &mut self.cache[hash as usize % CACHE_LEN];
        if entry.as_ref().is_some_and(|(known, _)| *known != hash) {
            *entry = None;
        }
        let versions = self.versions;
        let judge = || AgentDevice { device: Device::of_agent(agent), versions: versions.find(agent) };
        &entry.get_or_insert_with(|| (hash, judge())).1
    }
}

//! What asks for a click: a browser, an app that resolves the link itself, or an app's own browser. Only looked for on
//! domains that answer one of them in another way.

use http::{HeaderMap, HeaderValue, header};

use crate::{
    client::{
        device::{DeviceHints, find_ios_version},
        media_type::is_media_type_accepted,
        request_facts::RequestFacts,
        source::{InAppBrowser, find_in_app_browser},
    },
    edge::{
        agent_memo::{AgentMemo, cut_as_click_keeps},
        pages::CLICK_JSON_TYPE,
    },
    links::domains::{Domain, InApp},
    model::{click::Text, device::Os},
};

/// What asks for a click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientKind {
    /// A browser, and whatever the domain does not tell from one.
    Browser,
    /// An app that asks for the click as JSON and resolves the link itself.
    ResolvingApp,
    /// An app's own browser, on a domain that opens destinations outside it.
    AppBrowser(AppBrowser),
}

/// A person's browser that belongs to an app, on a phone or a tablet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AppBrowser {
    /// The app's name; empty if unknown.
    pub(super) app: &'static str,
    pub(super) system: MobileSystem,
}

/// A system whose apps have browsers of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MobileSystem {
    Android,
    /// iOS and iPadOS, with the first number of the version if the agent names it.
    Ios(Option<u16>),
}

impl ClientKind {
    /// What asks for a click on a domain that tells the kinds apart. An app that resolves links goes first.
    #[cold]
    pub(super) fn identify(domain: &Domain, facts: &RequestFacts<'_>, agents: &mut AgentMemo) -> ClientKind {
        if domain.app_resolves && accepts_click_json(facts.headers()) {
            return ClientKind::ResolvingApp;
        }
        let app_browser = match domain.in_app {
            InApp::Redirect => None,
            InApp::OpenOutside => AppBrowser::find(facts, agents),
        };
        app_browser.map_or(ClientKind::Browser, ClientKind::AppBrowser)
    }
}

impl AppBrowser {
    /// The app's browser that a person opens the link in. `None`: it is no app's, a machine's, or on another system.
    fn find(facts: &RequestFacts<'_>, agents: &mut AgentMemo) -> Option<AppBrowser> {
        let user_agent = cut_as_click_keeps(facts.user_agent, Text::UserAgent);
        let agent = agents.judge(user_agent);
        let package = cut_as_click_keeps(facts.app_package, Text::AppPackage);
        let InAppBrowser { is_in_app, name } = find_in_app_browser(package, &agent.traits);
        if !is_in_app || agent.traits.kind.is_some() {
            return None;
        }
        let system = match agent.device.corrected_by(DeviceHints::read(facts.headers())).os {
            Os::Android => MobileSystem::Android,
            Os::Ios => MobileSystem::Ios(find_ios_version(user_agent)),
            Os::Windows | Os::Macos | Os::Linux | Os::Chromeos | Os::Other => return None,
        };
        Some(AppBrowser { app: name, system })
    }
}

/// Whether an app asks for the click as JSON.
fn accepts_click_json(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT);
    is_media_type_accepted(lines.iter().map(HeaderValue::as_bytes), CLICK_JSON_TYPE.as_bytes())
}

//! What is known about a user agent.

/// What a user agent that is not a person's browser is. Ordered: of several kinds the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AgentKind {
    /// Neither a browser's form nor a known name: a program, unless an app resolves a link with it.
    Unrecognised,
    /// An HTTP library or the network stack of an app: a program, unless an app resolves a link with it.
    Tool,
    /// A crawler, a scanner, a script, a browser without a person.
    Bot,
    /// Fetches a page to draw a preview of it in a chat or a feed.
    Preview,
    /// A monitor or a load balancer's health check.
    Probe,
}

/// An app with a browser of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownApp {
    /// The value of `in_app_name`.
    pub(crate) name: &'static str,
    /// The platform that its clicks come from.
    pub(crate) source: &'static str,
}

/// What the names in a user agent and its form say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AgentTraits {
    /// The greatest kind, and the reason that the event gives. `None`: a person's browser.
    pub(crate) kind: Option<(AgentKind, &'static str)>,
    /// The app whose webview this is.
    pub(crate) app: Option<KnownApp>,
    /// The user agent is a webview, of a known or unknown app.
    pub(crate) is_webview: bool,
}

//! The settings of a host that are one of a few words.

use serde::{Deserialize, Serialize};

use crate::model::click::AddressMode;

/// The answer to an expired link without a fallback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExpired {
    /// A redirect to the link's own destination, without cookie and token.
    #[default]
    Pass,
    /// `410` with a link to the shop.
    Gone,
}

/// The answer to a request whose host is not configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownHosts {
    /// The links and settings of `*`.
    #[default]
    Serve,
    /// `421` without a click.
    Refuse,
}

/// The answer to a prefetch or prerender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Prefetch {
    /// `503`, so that the browser sends the request again when the buyer taps.
    #[default]
    Refuse,
    /// `302` without cookie and token.
    Redirect,
}

/// The effect of `Sec-GPC: 1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Gpc {
    /// The click has no visitor id and a truncated address, and the cookie is deleted; click id and token stay.
    #[default]
    Unlinked,
    /// As `unlinked`, and the destination gets no token.
    Strict,
    /// No effect.
    Ignore,
}

/// The answer to a tap in an app's own browser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InApp {
    /// As to any other tap.
    #[default]
    Redirect,
    /// A page that leads to the destination in the buyer's browser, and offers to go on in the app's.
    OpenOutside,
}

/// How much of the client's address a click keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientIp {
    /// All of it.
    #[default]
    Full,
    /// IPv4 to /24, IPv6 to /48.
    Truncated,
    /// Nothing.
    None,
}

impl ClientIp {
    /// The setting as a click records it.
    pub(super) const fn address_mode(self) -> AddressMode {
        match self {
            ClientIp::Full => AddressMode::Full,
            ClientIp::Truncated => AddressMode::Truncated,
            ClientIp::None => AddressMode::None,
        }
    }
}

//! A token: a sequence of letters that says something about the user agent in which it stands.

use super::agent_traits::{AgentKind, KnownApp};

/// A token in lower case, and its meaning.
pub(super) type TokenRow = (&'static str, TokenMeaning);

/// What a token means.
#[derive(Clone, Copy)]
pub(super) enum TokenMeaning {
    /// A machine's name, and the reason that the event gives.
    Machine(TokenPlace, AgentKind, &'static str),
    /// The webview of this app.
    WebviewOf(KnownApp),
    /// The webview of an unknown app.
    Webview,
    /// A sign of the user agent's form.
    Sign(TokenPlace, Sign),
    /// A phone's system; its model follows.
    PhoneSystem,
    /// The start of the block that Facebook's apps append.
    FacebookBlock,
}

/// Where a token has to be in the user agent.
#[derive(Clone, Copy)]
pub(super) enum TokenPlace {
    Anywhere,
    /// At the start: people's browsers contain these tokens further on.
    Start,
    /// Where a word ends: `Googlebot/2.1`, but not `robots`. In a phone's model only before a version: `M bot 51` and
    /// Cubot are phones.
    WordEnd,
    /// A whole word, outside a phone's model.
    Word,
    /// Outside a phone's model and what Facebook's apps append.
    OutsideDevice,
    /// The same, and not among the toolbars that Internet Explorer lists.
    OutsideToolbars,
    /// The same, and behind the platform.
    BehindPlatform,
    /// Before a capital letter.
    BeforeCapital,
    /// Before a name that is no old browser's: `compatible; NAME`.
    BeforeMachineName,
}

/// A sign of the form of a user agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Sign {
    /// An operating system or a device.
    Platform,
    /// A phone, a tablet, a television: their apps have names of all kinds.
    HandheldOrTv,
    /// A computer with a desktop.
    Desktop,
    /// A mark of browsers that do not start as browsers of today.
    OldBrowser,
    /// A device whose browser names no engine.
    DeviceWithoutEngine,
    /// Internet Explorer, whose platform lists toolbars.
    Explorer,
    /// `compatible; NAME`
    CompatibleName,
    /// Not Google's browser but one of its services: `Google-Ads`, `Storebot-Google`.
    GoogleService,
    /// A remark behind the engine's: `(KHTML, like Gecko; Google Web Preview)`.
    EngineRemark,
    /// Such a remark of a console's or an old browser's.
    BrowserRemark,
    /// What WebKit says where it finds no screen.
    PlatformWithoutScreen,
    /// A whole agent behind another name and a comma: a server passes its client's on.
    ListedAgent,
    /// A word of a machine's trade.
    TradeWord,
    /// A word of a machine's trade that no app for phones has in its name.
    RareTradeWord,
    /// The address of a web page.
    WebAddress,
    /// The address of a browser's maker, in people's browsers.
    MakersAddress,
}

/// A set of signs.
#[derive(Clone, Copy, Default)]
pub(super) struct Signs(u32);

impl Signs {
    pub(super) fn insert(&mut self, sign: Sign) {
        self.0 |= 1 << sign as u8;
    }

    pub(super) fn has(self, sign: Sign) -> bool {
        self.0 & 1 << sign as u8 != 0
    }
}

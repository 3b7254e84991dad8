//! How an app's own browser is left, by what public reports say of each app and system. `docs/landing.md` lists the
//! reports with versions and dates. Where none says that a way works, the buyer reads how to do it by hand.

use crate::{
    edge::client_kind::{AppBrowser, MobileSystem},
    model::target_choice::WayOut,
    uri::percent::push_percent_encoded,
};

/// The first version of iOS that `x-safari-https:` is reported to work on.
const FIRST_IOS_WITH_SAFARI_SCHEME: u16 = 17;

/// A way out of an app's own browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Exit {
    /// An `intent:` URL, which Android gives to the default browser.
    Intent,
    /// `x-safari-https:`, which iOS gives to Safari.
    SafariScheme,
    /// The scheme of KakaoTalk.
    KakaoTalkScheme,
    /// The scheme of Instagram.
    InstagramScheme,
    /// A text that says how.
    Instructions,
}

impl Exit {
    /// The way that is reported to work.
    pub(in crate::edge) fn choose(browser: AppBrowser) -> Exit {
        match (browser.system, browser.app) {
            (_, "kakaotalk") => Exit::KakaoTalkScheme,
            (MobileSystem::Android, "facebook" | "instagram" | "line" | "messenger" | "telegram" | "threads") => {
                Exit::Intent
            }
            // `x-safari-https:` is reported not to work from version 424 on.
            (MobileSystem::Ios(_), "instagram") => Exit::InstagramScheme,
            (
                MobileSystem::Ios(Some(FIRST_IOS_WITH_SAFARI_SCHEME..)),
                "facebook" | "google_app" | "line" | "linkedin" | "messenger" | "telegram" | "threads" | "tiktok",
            ) => Exit::SafariScheme,
            (MobileSystem::Android | MobileSystem::Ios(_), _) => Exit::Instructions,
        }
    }

    /// The way as the event names it.
    pub(in crate::edge) const fn way_out(self) -> WayOut {
        match self {
            Exit::Intent => WayOut::Intent,
            Exit::SafariScheme => WayOut::Safari,
            Exit::KakaoTalkScheme | Exit::InstagramScheme => WayOut::AppScheme,
            Exit::Instructions => WayOut::Instructions,
        }
    }

    /// The URL that opens an `http` or `https` destination outside the app; `None`: there is no such URL.
    pub(super) fn url_of(self, destination: &[u8]) -> Option<Vec<u8>> {
        let mut url = Vec::with_capacity(2 * destination.len() + 64);
        match self {
            Exit::Intent => push_intent(destination, &mut url),
            Exit::SafariScheme => {
                url.extend_from_slice(b"x-safari-");
                url.extend_from_slice(destination);
            }
            Exit::KakaoTalkScheme => {
                url.extend_from_slice(b"kakaotalk://web/openExternal?url=");
                push_percent_encoded(destination.iter().copied(), &mut url);
            }
            Exit::InstagramScheme => {
                url.extend_from_slice(b"instagram://extbrowser/?url=");
                push_percent_encoded(destination.iter().copied(), &mut url);
            }
            Exit::Instructions => return None,
        }
        Some(url)
    }
}

/// Appends the `intent:` URL of a destination, without a package, so that the default browser answers it. Android looks
/// for the last `#`, so the destination may have a fragment.
fn push_intent(destination: &[u8], url: &mut Vec<u8>) {
    let scheme_len = memchr::memchr(b':', destination).unwrap_or(0);
    let (scheme, rest) = destination.split_at(scheme_len);
    url.extend_from_slice(b"intent");
    url.extend_from_slice(rest);
    url.extend_from_slice(b"#Intent;scheme=");
    url.extend_from_slice(scheme);
    url.extend_from_slice(b";S.browser_fallback_url=");
    push_percent_encoded(destination.iter().copied(), url);
    url.extend_from_slice(b";end");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_app_is_left_as_reports_say_and_every_other_by_hand() {
        let (android, ios) = (MobileSystem::Android, MobileSystem::Ios(Some(18)));
        for (app, system, expected) in [
            ("instagram", android, Exit::Intent),
            ("telegram", android, Exit::Intent),
            ("tiktok", android, Exit::Instructions),
            ("wechat", android, Exit::Instructions),
            ("zalo", android, Exit::Instructions),
            ("", android, Exit::Instructions),
            ("kakaotalk", android, Exit::KakaoTalkScheme),
            ("kakaotalk", ios, Exit::KakaoTalkScheme),
            ("instagram", ios, Exit::InstagramScheme),
            ("tiktok", ios, Exit::SafariScheme),
            ("facebook", ios, Exit::SafariScheme),
            ("facebook", MobileSystem::Ios(Some(16)), Exit::Instructions),
            ("facebook", MobileSystem::Ios(None), Exit::Instructions),
            ("snapchat", ios, Exit::Instructions),
            ("x", ios, Exit::Instructions),
            ("", ios, Exit::Instructions),
        ] {
            assert_eq!(Exit::choose(AppBrowser { app, system }), expected, "{app} {system:?}");
        }
    }

    #[test]
    fn the_urls_carry_the_whole_destination() {
        let destination = b"https://shop.example.com:8443/a?b=c&wp=v1.T#top";
        let encoded = "https%3A%2F%2Fshop.example.com%3A8443%2Fa%3Fb%3Dc%26wp%3Dv1.T%23top";
        let url = |exit: Exit| exit.url_of(destination).map(|url| String::from_utf8(url).unwrap());
        let intent = format!(
            "intent://shop.example.com:8443/a?b=c&wp=v1.T#top#Intent;scheme=https;S.browser_fallback_url={encoded};end"
        );
        assert_eq!(url(Exit::Intent), Some(intent));
        let safari = "x-safari-https://shop.example.com:8443/a?b=c&wp=v1.T#top";
        assert_eq!(url(Exit::SafariScheme).as_deref(), Some(safari));
        assert_eq!(url(Exit::KakaoTalkScheme), Some(format!("kakaotalk://web/openExternal?url={encoded}")));
        assert_eq!(url(Exit::InstagramScheme), Some(format!("instagram://extbrowser/?url={encoded}")));
        assert_eq!(url(Exit::Instructions), None);
        let plain = Exit::Intent.url_of(b"http://shop.example.com/").unwrap();
        assert!(plain.starts_with(b"intent://shop.example.com/#Intent;scheme=http;S."));
    }
}

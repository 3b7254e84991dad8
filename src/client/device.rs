//! The operating system and the class of a device, for the conditions of targets: by the client hints that browsers
//! send without being asked, else by the user agent.
//!
//! Chromium sends `Sec-CH-UA-Platform` and `Sec-CH-UA-Mobile` with each request over HTTPS; its user agent is frozen. A
//! hint that is no known value counts as none. A phone or an iPad that asks for desktop pages says that it is a
//! desktop, and is answered as one.

use http::HeaderMap;
use memchr::memmem;

use crate::model::device::{DeviceClass, Os};

/// The system and the class of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) os: Os,
    pub(crate) class: DeviceClass,
}

/// What client hints say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeviceHints {
    os: Option<Os>,
    is_mobile: Option<bool>,
}

/// Words in the user agents of televisions and of boxes behind them.
const TELEVISIONS: [&[u8]; 14] = [
    b"SmartTV",
    b"SMART-TV",
    b"Smart-TV",
    b"HbbTV",
    b"AppleTV",
    b"Apple TV",
    b"GoogleTV",
    b"Android TV",
    b"CrKey",
    b"Roku",
    b"Web0S",
    b"BRAVIA",
    b"NetCast",
    b"DTV",
];

impl DeviceHints {
    /// The hints of a request.
    pub(crate) fn read(headers: &HeaderMap) -> DeviceHints {
        let value = |name| headers.get(name).map_or(&[][..], |value| value.as_bytes());
        let os = match value("sec-ch-ua-platform") {
            b"\"Android\"" => Some(Os::Android),
            b"\"iOS\"" => Some(Os::Ios),
            b"\"Windows\"" => Some(Os::Windows),
            b"\"macOS\"" => Some(Os::Macos),
            b"\"Linux\"" => Some(Os::Linux),
            b"\"Chrome OS\"" | b"\"Chromium OS\"" => Some(Os::Chromeos),
            _ => None,
        };
        let is_mobile = match value("sec-ch-ua-mobile") {
            b"?1" => Some(true),
            b"?0" => Some(false),
            _ => None,
        };
        DeviceHints { os, is_mobile }
    }
}

impl Device {
    /// What the user agent says.
    pub(crate) fn of_agent(agent: &[u8]) -> Device {
        let has = |word: &[u8]| memmem::find(agent, word).is_some();
        let os = find_os(has);
        let class = match os {
            _ if TELEVISIONS.iter().any(|word| has(word)) => DeviceClass::Tv,
            Os::Ios if has(b"iPad") => DeviceClass::Tablet,
            Os::Ios => DeviceClass::Phone,
            Os::Android if has(b"Tablet") || !has(b"Mobile") => DeviceClass::Tablet,
            Os::Android => DeviceClass::Phone,
            Os::Windows if has(b"Windows Phone") || has(b"IEMobile") => DeviceClass::Phone,
            Os::Windows | Os::Macos | Os::Linux | Os::Chromeos => DeviceClass::Desktop,
            Os::Other if has(b"Mobile") => DeviceClass::Phone,
            Os::Other => DeviceClass::Other,
        };
        Device { os, class }
    }

    /// This device of the user agent, corrected by the hints.
    pub(crate) fn corrected_by(self, hints: DeviceHints) -> Device {
        let os = hints.os.unwrap_or(self.os);
        let class = match (os, hints.is_mobile, self.class) {
            // No hint names a television.
            (_, _, DeviceClass::Tv) => DeviceClass::Tv,
            (_, Some(true), DeviceClass::Tablet) if os == self.os => DeviceClass::Tablet,
            (_, Some(true), _) => DeviceClass::Phone,
            (Os::Android | Os::Ios, Some(false), _) => DeviceClass::Tablet,
            (Os::Windows | Os::Macos | Os::Linux | Os::Chromeos, Some(false), _) => DeviceClass::Desktop,
            (_, _, class) => class,
        };
        Device { os, class }
    }
}

/// The first number of the version of iOS that a user agent names (`iPhone OS 17_5`, `CPU OS 16_6`); `None` if it names
/// none.
pub(crate) fn find_ios_version(agent: &[u8]) -> Option<u16> {
    const NAME: &[u8] = b"OS ";
    let mut names = memmem::find_iter(agent, NAME).map(|at| &agent[at + NAME.len()..]);
    let version = names.find(|behind| behind.first().is_some_and(u8::is_ascii_digit))?;
    let len = version.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(version.len());
    str::from_utf8(&version[..len]).ok()?.parse().ok()
}

/// The system that a user agent names. Names of others stand in some agents, so the order counts.
fn find_os(has: impl Fn(&[u8]) -> bool) -> Os {
    if has(b"Windows Phone") {
        Os::Windows
    } else if has(b"iPhone") || has(b"iPad") || has(b"iPod") || has(b"FBSN/iOS") {
        Os::Ios
    } else if has(b"Android") {
        Os::Android
    } else if has(b"CrOS") {
        Os::Chromeos
    } else if has(b"Windows") {
        Os::Windows
    } else if has(b"Macintosh") || has(b"Mac OS X") {
        Os::Macos
    } else if has(b"Tizen") || has(b"Web0S") || has(b"KAIOS") || has(b"PlayStation") {
        Os::Other
    } else if has(b"Linux") || has(b"X11") {
        Os::Linux
    } else {
        Os::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(agent: &str, hints: &[(&'static str, &str)]) -> (&'static str, &'static str) {
        let headers: HeaderMap =
            hints.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let Device { os, class } = Device::of_agent(agent.as_bytes()).corrected_by(DeviceHints::read(&headers));
        (os.as_str(), class.as_str())
    }

    const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148";
    const FROZEN: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 \
        Safari/537.36";

    #[test]
    fn systems_and_classes_are_told_by_the_agent() {
        for (agent, expected) in [
            (IPHONE, ("ios", "phone")),
            ("Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) Mobile/15E148", ("ios", "tablet")),
            ("Mozilla/5.0 (Linux; Android 14; SM-S918N; wv) Chrome/131 Mobile Safari/537.36", ("android", "phone")),
            ("Mozilla/5.0 (Linux; Android 13; SM-X710) Chrome/131 Safari/537.36", ("android", "tablet")),
            ("Mozilla/5.0 (Android 14; Tablet; rv:132.0) Gecko/132.0 Firefox/132.0", ("android", "tablet")),
            ("Mozilla/5.0 (Linux; Android 12; BRAVIA 4K VH2) Chrome/131 Safari/537.36", ("android", "tv")),
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/131.0.0.0", ("windows", "desktop")),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/17.5 Safari/605.1.15", ("macos", "desktop")),
            ("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) Chrome/131.0.0.0", ("chromeos", "desktop")),
            ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:132.0) Firefox/132.0", ("linux", "desktop")),
            ("Mozilla/5.0 (Windows Phone 10.0; Android 6.0.1; Lumia 950) Mobile Edge/15", ("windows", "phone")),
            ("Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) Version/6.0 TV Safari/537.36", ("other", "tv")),
            ("curl/8.7.1", ("other", "other")),
            ("", ("other", "other")),
        ] {
            assert_eq!(device(agent, &[]), expected, "{agent}");
        }
    }

    #[test]
    fn the_version_of_ios_is_read_from_the_agent() {
        for (agent, expected) in [
            (IPHONE, Some(17)),
            ("Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) Mobile/15E148", Some(16)),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 26_4_1 like Mac OS X) AppleWebKit/605.1.15", Some(26)),
            ("Instagram 424.1 (iPhone18,4; iOS 26_4_1; en_GB)", Some(26)),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)", None),
            ("OS 99999999_1", None),
            ("iPhone OS ", None),
            ("", None),
        ] {
            assert_eq!(find_ios_version(agent.as_bytes()), expected, "{agent}");
        }
    }

    #[test]
    fn a_hint_goes_before_the_agent_and_one_that_is_no_value_does_not_count() {
        let android = ("sec-ch-ua-platform", "\"Android\"");
        assert_eq!(device(FROZEN, &[android, ("sec-ch-ua-mobile", "?0")]), ("android", "tablet"));
        assert_eq!(device(FROZEN, &[("sec-ch-ua-platform", "\"Windows\""), ("sec-ch-ua-mobile", "?0")]).0, "windows");
        assert_eq!(device("", &[android, ("sec-ch-ua-mobile", "?1")]), ("android", "phone"));
        for odd in ["Android", "\"\"", "\"android\"", "?1", "\"Androi\u{e4}\""] {
            let odd = [("sec-ch-ua-platform", odd), ("sec-ch-ua-mobile", "true")];
            assert_eq!(device(IPHONE, &odd), ("ios", "phone"));
        }
    }

    /// The copy holds agents of desktops alone; the whole corpus, where it lies beside the checkout, all four kinds.
    /// Many televisions and tablets do not say what they are.
    #[test]
    fn the_collected_agents_get_the_class_of_their_kind() {
        const COPY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/agent_corpus/agents.jsonl");
        const WHOLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpora/agents.jsonl");
        let corpus = std::fs::read_to_string(WHOLE).or_else(|_| std::fs::read_to_string(COPY)).unwrap();
        let agents: Vec<serde_json::Value> = corpus.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for (kind, least_percent) in [("phone", 97), ("desktop", 95), ("tablet", 75), ("tv", 20)] {
            let of_kind = agents.iter().filter(|agent| agent["kind"] == kind);
            let classes: Vec<DeviceClass> =
                of_kind.map(|agent| Device::of_agent(agent["agent"].as_str().unwrap().as_bytes()).class).collect();
            let right = classes.iter().filter(|class| class.as_str() == kind).count();
            assert!(right * 100 >= classes.len() * least_percent, "{kind}: {right} of {}", classes.len());
        }
    }
}

//! A click as the journal keeps it: raw facts, encoded by the worker before it answers and decoded by `events`.
//!
//! # The bytes, version 1
//!
//! Little-endian. A fixed part, then the texts in the order of [`Text`], each behind its length as `u16`. An empty text
//! means that there is no link or no previous click.
//!
//! ```text
//!   0 version u8 | outcome u8 | status u16 | carrier u8 | method u8 | http u8 | cookie_state u8
//!   8 clicked_at_ms u64
//!  16 click_id 16 bytes
//!  32 visitor_id 16 bytes, zero for none
//!  48 previous_id 16 bytes, zero for none
//!  64 address 16 bytes (IPv4 as ::ffff:a.b.c.d) | address_mode u8 | address_source u8 | consent u8 | privacy u8
//!  84 flags u16 | token_at u16 (0xffff: no token in the destination)
//!  88 token_kid 8 bytes of text, zero for none
//!  96 texts
//!     the route's name behind its length u16, if the flag ROUTED is set
//!     the suspension's name behind its length u16, if the flag SUSPENDED is set
//!     the choice of a target (`target_choice`), if the flag TARGETED is set
//! ```
//!
//! `destination` is the `Location` without the token, which stood at byte `token_at`; further ones are replaced by
//! `{click_token}`: no bearer token reaches disk or topic. A reader refuses a version that it does not know. A new
//! version only appends texts or uses free flag bits.

use std::net::{IpAddr, Ipv6Addr};

use crate::{
    model::target_choice::{self, TargetChoice},
    text::cut_at_character,
    word_enum::word_enum,
};

/// The version that this build writes.
const VERSION: u8 = 1;
/// Bytes before the first text.
const FIXED_LEN: usize = 96;
/// `token_at` of a destination without a token.
const NO_TOKEN: u16 = u16::MAX;

/// The topic of a click's event. Each topic has a journal of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Topic {
    /// Clicks on live links: the ones that payouts are computed from.
    Clicks = 0,
    /// Clicks on codes that are unknown, expired, disabled or not started.
    Orphan = 1,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Topic; 2] = [Topic::Clicks, Topic::Orphan];

    /// The default topic name, the label value in metrics, and the name of the journal's directory.
    pub const fn name(self) -> &'static str {
        match self {
            Topic::Clicks => "clicks",
            Topic::Orphan => "clicks.orphan",
        }
    }

    /// The word for the topic in names of threads, which Linux cuts after 15 bytes, and of configuration keys.
    pub const fn short_name(self) -> &'static str {
        match self {
            Topic::Clicks => "clicks",
            Topic::Orphan => "orphan",
        }
    }
}

word_enum! {
    /// The decision about a click.
    pub enum Outcome {
        Redirected = "redirected", Fallback = "fallback", Passed = "passed", Expired = "expired",
        NotStarted = "not_started", Disabled = "disabled", NotFound = "not_found", RefusedPrefetch = "refused_prefetch",
    }
}
word_enum! {
    /// The client that takes the token to the shop.
    pub enum Carrier { Browser = "browser", App = "app" }
}
word_enum! {
    /// The request's method; no other is recorded.
    pub enum Method { Get = "GET", Head = "HEAD" }
}
word_enum! {
    /// The request's HTTP version.
    pub enum HttpVersion { Http10 = "1.0", Http11 = "1.1", Http2 = "2" }
}
word_enum! {
    /// The result of verifying the presented attribution cookie.
    pub enum CookieState {
        None = "none", Valid = "valid", Expired = "expired", BadMac = "bad_mac", UnknownKey = "unknown_key",
        Malformed = "malformed", Duplicate = "duplicate",
    }
}
word_enum! {
    /// The consent signal in the query (`cons=0`, `cons=1`).
    pub enum Consent { None = "none", Granted = "granted", Refused = "refused" }
}
word_enum! {
    /// The privacy rule that was applied to the click.
    pub enum Privacy { None = "none", Unlinked = "unlinked", Strict = "strict" }
}
word_enum! {
    /// How much of the client's address the click keeps.
    pub enum AddressMode { Full = "full", Truncated = "truncated", None = "none" }
}
word_enum! {
    /// Where the client's address was found.
    pub enum AddressSource { Peer = "peer", Xff = "xff", Forwarded = "forwarded", Proxy = "proxy" }
}

/// One-bit facts of a click.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// The answer set the attribution cookie.
    pub const COOKIE_SET: Flags = Flags(1);
    /// The visitor id is new with this click.
    pub const VISITOR_NEW: Flags = Flags(1 << 1);
    /// The request carried `Sec-GPC: 1`.
    pub const GPC: Flags = Flags(1 << 2);
    /// The request is a prefetch or a prerender.
    pub const PREFETCH: Flags = Flags(1 << 3);
    /// A text was cut to its bound.
    pub const TRUNCATED: Flags = Flags(1 << 4);
    /// `Sec-Fetch-Dest` says that the request is no navigation.
    pub const NON_NAVIGATION: Flags = Flags(1 << 5);
    /// Something was glued to the code in the path; the code was found without it.
    pub const REPAIRED: Flags = Flags(1 << 6);
    /// A route made the code of another tracker's URL; its name stands behind the texts.
    pub const ROUTED: Flags = Flags(1 << 7);
    /// A suspension took the link out of service; its name stands behind the route's.
    pub const SUSPENDED: Flags = Flags(1 << 8);
    /// The link has targets; the choice of one stands behind the names.
    pub const TARGETED: Flags = Flags(1 << 9);

    /// Whether every bit of `flags` is set.
    pub const fn has(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Sets the bits of `flags` if the condition holds.
    pub const fn set_if(&mut self, flags: Flags, condition: bool) {
        if condition {
            self.0 |= flags.0;
        }
    }
}

/// The texts of a click, in the order in which they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Text {
    /// The domain of the code (`*` for hosts that are not configured).
    Domain,
    /// The link's code, or the requested one if it is unknown.
    Code,
    /// The link's facts (`model::link`), empty for an unknown code.
    Link,
    /// The destination without its token.
    Destination,
    /// The domain of the previous click.
    PreviousDomain,
    /// The code of the previous click.
    PreviousCode,
    /// The query as the client sent it, without `?` and without tokens. Of another tracker's URL the sub ids stand in
    /// front, by their own names.
    Query,
    /// `User-Agent`
    UserAgent,
    /// `Referer`
    Referer,
    /// `Accept-Language`
    AcceptLanguage,
    /// `X-Requested-With`: on Android the app's package.
    AppPackage,
    /// `Sec-Fetch-Mode`/`Sec-Fetch-Dest`/`Sec-Fetch-User`, empty if none came.
    SecFetch,
}

impl Text {
    /// The number of texts.
    pub const COUNT: usize = 12;
    /// The most bytes of each text, in order. Longer texts are cut and flagged. Codes, facts, destinations and queries
    /// are bounded before, so only headers are ever cut: at a character. A query with the sub ids of another tracker's
    /// URL in front can be cut too, behind them.
    pub const MAX_LENS: [usize; Text::COUNT] = [255, 64, 2048, 12 * 1024, 255, 64, 4096, 512, 512, 64, 128, 64];
}

/// The most bytes of a route's name. A longer one is cut.
pub const MAX_ROUTE_LEN: usize = 32;

/// The most bytes of a suspension's name. A longer one is cut.
pub const MAX_SUSPENSION_LEN: usize = 272;

/// The most bytes of an encoded click.
pub const MAX_ENCODED_LEN: usize = {
    let mut sum = FIXED_LEN + 2 + MAX_ROUTE_LEN + 2 + MAX_SUSPENSION_LEN + target_choice::MAX_ENCODED_LEN;
    let mut text = 0;
    while text < Text::COUNT {
        sum += 2 + Text::MAX_LENS[text];
        text += 1;
    }
    sum
};

/// One click. Its texts borrow from the request and the link, or from the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Click<'a> {
    /// UUIDv7.
    pub id: [u8; 16],
    /// The wall clock, milliseconds since the epoch.
    pub at_ms: u64,
    /// The decision.
    pub outcome: Outcome,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The client that takes the token to the shop.
    pub carrier: Carrier,
    /// GET or HEAD.
    pub method: Method,
    /// The request's HTTP version.
    pub http: HttpVersion,
    /// The result of verifying the presented cookie.
    pub cookie_state: CookieState,
    /// The visitor; `None` if unknown, or if the buyer must not be linked.
    pub visitor: Option<[u8; 16]>,
    /// The click that this one displaces, from a valid cookie.
    pub previous: Option<[u8; 16]>,
    /// As much of the client's address as `address_mode` keeps.
    pub address: Option<IpAddr>,
    /// How much of the address is kept.
    pub address_mode: AddressMode,
    /// Where the address was found.
    pub address_source: AddressSource,
    /// The consent signal.
    pub consent: Consent,
    /// The privacy rule that was applied.
    pub privacy: Privacy,
    /// One-bit facts.
    pub flags: Flags,
    /// Where the token stood in `destination`, bytes.
    pub token_at: Option<u16>,
    /// The id of the key that signed the URL token, as text.
    pub token_kid: Option<[u8; 8]>,
    /// The texts, by [`Text`].
    pub texts: [&'a [u8]; Text::COUNT],
    /// The name of the route that made the code; empty if none did.
    pub route: &'a [u8],
    /// The name of the suspension that took the link out of service; empty if none did.
    pub suspension: &'a [u8],
    /// The choice of a target, on a link that has some.
    pub target: Option<TargetChoice<'a>>,
}

/// Why bytes cannot be decoded as a click.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer build.
    #[error("click version {0} is newer than this build knows")]
    Version(u8),
    /// Not the bytes of a click.
    #[error("the bytes end early or hold an unknown value")]
    Malformed,
}

impl<'a> Click<'a> {
    /// One text; empty if absent.
    pub fn text(&self, text: Text) -> &'a [u8] {
        self.texts[text as usize]
    }

    /// Appends the encoded click to `out`. Texts longer than [`Text::MAX_LENS`] are cut, and [`Flags::TRUNCATED`] is
    /// set.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut flags = self.flags;
        let is_cut = self.texts.iter().zip(Text::MAX_LENS).any(|(text, max_len)| text.len() > max_len);
        flags.set_if(Flags::TRUNCATED, is_cut);
        flags.set_if(Flags::ROUTED, !self.route.is_empty());
        flags.set_if(Flags::SUSPENDED, !self.suspension.is_empty());
        flags.set_if(Flags::TARGETED, self.target.is_some());
        out.extend_from_slice(&self.encode_fixed_part(flags));
        for (text, max_len) in self.texts.iter().zip(Text::MAX_LENS) {
            let kept = cut_at_character(text, max_len);
            out.extend_from_slice(&(kept.len() as u16).to_le_bytes());
            out.extend_from_slice(kept);
        }
        for (name, max_len) in [(self.route, MAX_ROUTE_LEN), (self.suspension, MAX_SUSPENSION_LEN)] {
            if !name.is_empty() {
                let kept = cut_at_character(name, max_len);
                out.extend_from_slice(&(kept.len() as u16).to_le_bytes());
                out.extend_from_slice(kept);
            }
        }
        if let Some(choice) = &self.target {
            choice.encode(out);
        }
    }

    /// The bytes before the texts.
    fn encode_fixed_part(&self, flags: Flags) -> [u8; FIXED_LEN] {
        let mut fixed = [0u8; FIXED_LEN];
        fixed[0] = VERSION;
        fixed[1] = self.outcome as u8;
        fixed[2..4].copy_from_slice(&self.status.to_le_bytes());
        fixed[4] = self.carrier as u8;
        fixed[5] = self.method as u8;
        fixed[6] = self.http as u8;
        fixed[7] = self.cookie_state as u8;
        fixed[8..16].copy_from_slice(&self.at_ms.to_le_bytes());
        fixed[16..32].copy_from_slice(&self.id);
        fixed[32..48].copy_from_slice(&self.visitor.unwrap_or_default());
        fixed[48..64].copy_from_slice(&self.previous.unwrap_or_default());
        let address = match self.address {
            Some(IpAddr::V4(v4)) => v4.to_ipv6_mapped().octets(),
            Some(IpAddr::V6(v6)) => v6.octets(),
            None => [0; 16],
        };
        fixed[64..80].copy_from_slice(&address);
        fixed[80] = self.address_mode as u8;
        fixed[81] = self.address_source as u8;
        fixed[82] = self.consent as u8;
        fixed[83] = self.privacy as u8;
        fixed[84..86].copy_from_slice(&flags.0.to_le_bytes());
        fixed[86..88].copy_from_slice(&self.token_at.unwrap_or(NO_TOKEN).to_le_bytes());
        fixed[88..96].copy_from_slice(&self.token_kid.unwrap_or_default());
        fixed
    }

    /// Decodes a click. Bytes behind the last text are ignored: newer builds may add some.
    pub fn decode(bytes: &'a [u8]) -> Result<Click<'a>, DecodeError> {
        use DecodeError::Malformed;
        let (&version, _) = bytes.split_first().ok_or(Malformed)?;
        if version > VERSION {
            return Err(DecodeError::Version(version));
        } else if version < VERSION {
            return Err(Malformed);
        }
        let (fixed, rest) = bytes.split_first_chunk::<FIXED_LEN>().ok_or(Malformed)?;
        let (texts, rest) = decode_texts(rest).ok_or(Malformed)?;
        let id_at = |at: usize| -> Option<[u8; 16]> { fixed[at..at + 16].try_into().ok() };
        let nonzero = |at: usize| id_at(at).filter(|id| *id != [0; 16]);
        let u16_at = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        let mut at_ms = [0; 8];
        at_ms.copy_from_slice(&fixed[8..16]);
        let mut kid = [0; 8];
        kid.copy_from_slice(&fixed[88..96]);
        let address_mode = decode_enum(&AddressMode::ALL, fixed[80])?;
        let address = id_at(64).map(|octets| Ipv6Addr::from(octets).to_canonical());
        let flags = Flags(u16_at(84));
        let (route, rest) =
            if flags.has(Flags::ROUTED) { decode_name(rest).ok_or(Malformed)? } else { (&[][..], rest) };
        let (suspension, rest) =
            if flags.has(Flags::SUSPENDED) { decode_name(rest).ok_or(Malformed)? } else { (&[][..], rest) };
        let target = match flags.has(Flags::TARGETED) {
            true => Some(TargetChoice::decode(rest).ok_or(Malformed)?),
            false => None,
        };
        Ok(Click {
            id: id_at(16).ok_or(Malformed)?,
            at_ms: u64::from_le_bytes(at_ms),
            outcome: decode_enum(&Outcome::ALL, fixed[1])?,
            status: u16_at(2),
            carrier: decode_enum(&Carrier::ALL, fixed[4])?,
            method: decode_enum(&Method::ALL, fixed[5])?,
            http: decode_enum(&HttpVersion::ALL, fixed[6])?,
            cookie_state: decode_enum(&CookieState::ALL, fixed[7])?,
            visitor: nonzero(32),
            previous: nonzero(48),
            address: address.filter(|_| address_mode != AddressMode::None),
            address_mode,
            address_source: decode_enum(&AddressSource::ALL, fixed[81])?,
            consent: decode_enum(&Consent::ALL, fixed[82])?,
            privacy: decode_enum(&Privacy::ALL, fixed[83])?,
            flags,
            token_at: Some(u16_at(86)).filter(|at| *at != NO_TOKEN),
            token_kid: Some(kid).filter(|kid| *kid != [0; 8]),
            texts,
            route,
            suspension,
            target,
        })
    }
}

/// The texts, each behind its length, and the bytes behind them; `None` if the bytes end early.
#[inline]
fn decode_texts(mut rest: &[u8]) -> Option<([&[u8]; Text::COUNT], &[u8])> {
    let mut texts = [&[][..]; Text::COUNT];
    for text in &mut texts {
        (*text, rest) = split_text(rest)?;
    }
    Some((texts, rest))
}

/// A name, which is not empty, and the bytes behind it; `None` if the bytes end early.
#[cold]
fn decode_name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    split_text(bytes).filter(|(name, _)| !name.is_empty())
}

/// A text behind its length, and the bytes behind it; `None` if the bytes end early.
#[inline]
fn split_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, behind) = bytes.split_first_chunk::<2>()?;
    behind.split_at_checked(usize::from(u16::from_le_bytes(*len)))
}

/// The variant of a byte; an error if this build does not know the byte.
fn decode_enum<T: Copy>(all: &[T], byte: u8) -> Result<T, DecodeError> {
    all.get(usize::from(byte)).copied().ok_or(DecodeError::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::target_choice::{NextHop, SplitBasis, SplitChoice, WayOut};

    fn click<'a>() -> Click<'a> {
        let mut flags = Flags::default();
        flags.set_if(Flags::COOKIE_SET, true);
        flags.set_if(Flags::VISITOR_NEW, true);
        Click {
            id: *b"\x01\x9a\x00\x00\x00\x00\x70\x01\x80\x02\x03\x04\x05\x06\x07\x08",
            at_ms: 1_763_700_000_123,
            outcome: Outcome::Redirected,
            status: 302,
            carrier: Carrier::Browser,
            method: Method::Get,
            http: HttpVersion::Http11,
            cookie_state: CookieState::None,
            visitor: Some([7; 16]),
            previous: None,
            address: Some(IpAddr::from([192, 0, 2, 7])),
            address_mode: AddressMode::Full,
            address_source: AddressSource::Peer,
            consent: Consent::None,
            privacy: Privacy::None,
            flags,
            token_at: Some(40),
            token_kid: Some(*b"abcdefgh"),
            texts: [
                b"*",
                b"7Kq2ZpXa",
                b"facts",
                b"https://shop.example.com/p?wp=",
                b"",
                b"",
                b"sub1=a",
                b"Mozilla/5.0",
                b"https://l.instagram.com/",
                b"de-DE",
                b"com.instagram.android",
                b"navigate/document/?1",
            ],
            route: b"",
            suspension: b"",
            target: None,
        }
    }

    fn encoded(click: &Click<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        click.encode(&mut bytes);
        bytes
    }

    /// Files of the journal outlive the build that wrote them, so these bytes never change within version 1.
    #[test]
    fn the_bytes_of_version_1_never_change() {
        let bytes = encoded(&click());
        let golden = include_bytes!("../../tests/fixtures/click.v1.bin");
        assert_eq!(bytes, golden, "the layout changed: raise VERSION instead");
        assert_eq!(Click::decode(golden), Ok(click()));
    }

    #[test]
    fn a_newer_version_is_distinguished_from_damage() {
        let mut bytes = encoded(&click());
        bytes[0] = VERSION + 1;
        assert_eq!(Click::decode(&bytes), Err(DecodeError::Version(VERSION + 1)));
        bytes[0] = 0;
        assert_eq!(Click::decode(&bytes), Err(DecodeError::Malformed), "no build has written this version");
        assert_eq!(Click::decode(&[]), Err(DecodeError::Malformed));
    }

    #[test]
    fn a_longer_text_is_cut_and_flagged() {
        let long = [b'a'; 600];
        let mut click = click();
        click.texts[Text::UserAgent as usize] = &long;
        let bytes = encoded(&click);
        let read = Click::decode(&bytes).unwrap();
        assert_eq!(read.text(Text::UserAgent).len(), 512);
        assert!(read.flags.has(Flags::TRUNCATED));
    }

    #[test]
    fn the_choice_of_a_target_stands_behind_the_names_and_newer_bytes_behind_it_are_ignored() {
        let split = SplitChoice { variant: b"b", bucket: 7351, basis: SplitBasis::Click };
        for choice in [
            TargetChoice {
                index: Some(3),
                split: Some(split),
                facts: b"os=ios;language=vi",
                ..TargetChoice::default()
            },
            TargetChoice::default(),
        ] {
            let chosen = Click { target: Some(choice), suspension: b"creator:c", route: b"tune", ..click() };
            let mut bytes = encoded(&chosen);
            let read = Click::decode(&bytes).unwrap();
            assert!(read.target == Some(choice) && read.flags.has(Flags::TARGETED) && read.route == b"tune");
            assert!(!Click::decode(&encoded(&click())).unwrap().flags.has(Flags::TARGETED));
            let choice_at = bytes.len() - (2 + 4 + 1 + usize::from(choice.split.is_some()) + 2 + choice.facts.len());
            bytes.extend_from_slice(&[0, 7]);
            bytes[choice_at] += 2;
            assert_eq!(Click::decode(&bytes).unwrap().target, Some(choice), "a newer build appends");
            assert_eq!(Click::decode(&bytes[..choice_at + 4]), Err(DecodeError::Malformed));
        }
    }

    #[test]
    fn the_bytes_of_a_choice_never_change() {
        let split = SplitChoice { variant: b"b", bucket: 7351, basis: SplitBasis::Click };
        let choice = TargetChoice { index: Some(3), split: Some(split), facts: b"os=ios", ..TargetChoice::default() };
        let bytes = encoded(&Click { target: Some(choice), ..click() });
        assert!(bytes.ends_with(b"\x0e\x00\x03\x02\xb7\x1c\x01b\x06\x00os=ios"), "{}", bytes.escape_ascii());
        for (number, way_out) in WayOut::ALL.into_iter().enumerate() {
            let choice = TargetChoice { way_out: Some(way_out), ..choice };
            let bytes = encoded(&Click { target: Some(choice), ..click() });
            let expected = [&b"\x0f\x00\x03\x02\xb7\x1c\x01b\x06\x00os=ios"[..], &[number as u8 + 1]].concat();
            assert!(bytes.ends_with(&expected), "{}", bytes.escape_ascii());
            assert_eq!(Click::decode(&bytes).unwrap().target, Some(choice));
        }
        for (choice, last) in [
            (TargetChoice { is_of_domain: true, ..choice }, 0x80),
            (TargetChoice { next_hop: Some(NextHop::Listed), ..choice }, 0x08),
            (TargetChoice { next_hop: Some(NextHop::Signed), ..choice }, 0x10),
            (TargetChoice { next_hop: Some(NextHop::Refused), way_out: Some(WayOut::Safari), ..choice }, 0x1a),
        ] {
            let bytes = encoded(&Click { target: Some(choice), ..click() });
            assert!(bytes.ends_with(&[&b"os=ios"[..], &[last]].concat()), "{}", bytes.escape_ascii());
            assert_eq!(Click::decode(&bytes).unwrap().target, Some(choice));
        }
    }

    /// Only the encoder cuts texts: a click of a build with longer texts is delivered whole.
    #[test]
    fn a_longer_text_is_decoded_whole_and_cut_when_it_is_encoded_again() {
        let long = [b'a'; 65];
        let mut bytes = encoded(&Click { texts: [&[]; Text::COUNT], ..click() });
        let last = bytes.len() - 2;
        bytes[last] = 65;
        bytes.extend_from_slice(&long);
        let read = Click::decode(&bytes).unwrap();
        assert_eq!((read.text(Text::SecFetch), read.flags.has(Flags::TRUNCATED)), (&long[..], false));
        let again = encoded(&read);
        let again = Click::decode(&again).unwrap();
        assert_eq!((again.text(Text::SecFetch), again.flags.has(Flags::TRUNCATED)), (&long[..64], true));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Click::decode(&bytes);
            if let Some(version) = bytes.first_mut() {
                *version = VERSION;
            }
            let _ = Click::decode(&bytes);
        }

        #[test]
        fn a_click_cut_anywhere_is_refused(cut in 0_usize..200) {
            let bytes = encoded(&click());
            prop_assert_eq!(Click::decode(&bytes[..cut.min(bytes.len() - 1)]), Err(DecodeError::Malformed));
        }

        #[test]
        fn an_encoded_click_is_decoded_as_it_was(
            texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), Text::COUNT),
            status in any::<u16>(), at_ms in any::<u64>(), flag_bits in 0_u16..64, at in 0_u16..9000,
            outcome in 0..Outcome::ALL.len(), v6 in any::<u128>(),
        ) {
            let mut click = click();
            for (into, text) in click.texts.iter_mut().zip(&texts) {
                *into = text;
            }
            click.status = status;
            click.at_ms = at_ms;
            click.flags = Flags(flag_bits & !Flags::TRUNCATED.0);
            click.token_at = Some(at);
            click.outcome = Outcome::ALL[outcome];
            click.address = Some(IpAddr::from(Ipv6Addr::from(v6)).to_canonical());
            let bytes = encoded(&click);
            prop_assert_eq!(Click::decode(&bytes), Ok(click));
        }
    }
}

//! A click as the journal holds it: raw facts, written by the worker on the buyer's time and read by the shipper.
//!
//! # The bytes, version 1
//!
//! Little-endian. A fixed part, then the texts, each behind its length as `u16`, in the order of [`Text`]. Facts about a
//! link and the previous click are absent where their text is empty.
//!
//! ```text
//!   0 version u8 | outcome u8 | status u16 | carrier u8 | method u8 | http u8 | cookie_state u8
//!   8 clicked_at_ms u64
//!  16 click_id 16 bytes
//!  32 visitor_id 16 bytes, zero for none
//!  48 previous_id 16 bytes, zero for none
//!  64 address 16 bytes (IPv4 as ::ffff:a.b.c.d) | address_mode u8 | address_from u8 | consent u8 | privacy u8
//!  84 flags u16 | token_at u16 (NONE: no token in the destination)
//!  88 token_kid 8 bytes of text, zero for none
//!  96 texts
//! ```
//!
//! `destination` is the `Location` with the token cut out; it stood at byte `token_at`. So no bearer token reaches disk or topic.
//! A reader refuses a version it does not know; a new version only appends texts or uses free flag bits.

use std::net::{IpAddr, Ipv6Addr};

/// The version this build writes.
pub const VERSION: u8 = 1;
/// Bytes before the first text.
pub const FIXED: usize = 96;
/// `token_at` where the destination holds no token.
const NO_TOKEN: u16 = u16::MAX;

/// Which topic a click goes to; also its stream in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Topic {
    /// Clicks on live links: what is paid by.
    Clicks = 0,
    /// Clicks on unknown, expired, disabled and not yet started codes.
    Orphan = 1,
}

impl Topic {
    /// Every topic, in the order of the journal's streams.
    pub const ALL: [Topic; 2] = [Topic::Clicks, Topic::Orphan];
    /// The default topic name, and the label value in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Topic::Clicks => "clicks",
            Topic::Orphan => "clicks.orphan",
        }
    }
}

/// Makes an enum whose variants have a byte in the journal and a word in the event.
macro_rules! coded {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vmeta])* #[doc = concat!("`", $word, "`")] $variant),* }

        impl $name {
            /// Every value, in the order of its byte.
            pub const ALL: &[$name] = &[$($name::$variant),*];
            /// The word in events and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }
            /// The value of a journal byte; `None` if this build does not know it.
            pub fn from_byte(byte: u8) -> Option<$name> {
                $name::ALL.get(usize::from(byte)).copied()
            }
        }
    };
}

coded! {
    /// What was decided.
    Outcome {
        Redirected = "redirected", Fallback = "fallback", Passed = "passed", Expired = "expired",
        NotStarted = "not_started", Disabled = "disabled", NotFound = "not_found", RefusedPrefetch = "refused_prefetch",
    }
}
coded! {
    /// Who carries the token on.
    Carrier { Browser = "browser", App = "app" }
}
coded! {
    /// The request's method; no other is recorded.
    Method { Get = "GET", Head = "HEAD" }
}
coded! {
    /// The request's HTTP version.
    HttpVersion { Http10 = "1.0", Http11 = "1.1", Http2 = "2" }
}
coded! {
    /// What became of the attribution cookie that was presented.
    CookieState {
        None = "none", Valid = "valid", Expired = "expired", BadMac = "bad_mac", UnknownKey = "unknown_key",
        Malformed = "malformed", Duplicate = "duplicate",
    }
}
coded! {
    /// What was said about consent (`cons=0`, `cons=1`).
    Consent { None = "none", Granted = "granted", Refused = "refused" }
}
coded! {
    /// Which privacy rule shaped this click.
    Privacy { None = "none", Unlinked = "unlinked", Strict = "strict" }
}
coded! {
    /// How much of the address was kept.
    AddressMode { Full = "full", Truncated = "truncated", None = "none" }
}
coded! {
    /// Where the client's address was taken from.
    AddressFrom { Peer = "peer", Xff = "xff", Forwarded = "forwarded", Proxy = "proxy" }
}

/// Facts of one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// The answer set the attribution cookie.
    pub const COOKIE_SET: Flags = Flags(1);
    /// The visitor id was made for this click.
    pub const VISITOR_NEW: Flags = Flags(1 << 1);
    /// The request carried `Sec-GPC: 1`.
    pub const GPC: Flags = Flags(1 << 2);
    /// The request said that it is a prefetch or a prerender.
    pub const PREFETCH: Flags = Flags(1 << 3);
    /// A text was cut to its bound.
    pub const TRUNCATED: Flags = Flags(1 << 4);
    /// The request said by `Sec-Fetch-Dest` that it is no navigation.
    pub const NON_NAVIGATION: Flags = Flags(1 << 5);

    /// Whether every bit of `other` is set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
    /// Sets the bits of `other` if `yes`.
    pub const fn set_if(&mut self, other: Flags, yes: bool) {
        if yes {
            self.0 |= other.0;
        }
    }
}

/// The texts of a click, in the order in which they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Text {
    /// The domain whose codes were looked in (`*` for the default).
    Domain,
    /// The code as asked for.
    Code,
    /// The link's facts (`model::link`), empty for an unknown code.
    Link,
    /// The destination without its token.
    Destination,
    /// The domain of the previous click.
    PreviousDomain,
    /// The code of the previous click.
    PreviousCode,
    /// The query as received, without `?`.
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
    /// How many texts there are.
    pub const COUNT: usize = 12;
    /// The most bytes kept of each, in order; longer values are cut and flagged. Codes, facts and destinations are
    /// bounded where they are made; the query by the bound on the URI.
    pub const BOUNDS: [usize; Text::COUNT] = [255, 64, 2048, 12 * 1024, 255, 64, 4096, 512, 512, 64, 128, 64];
}

/// The largest click there can be, in bytes.
pub const MAX: usize = {
    let mut sum = FIXED;
    let mut text = 0;
    while text < Text::COUNT {
        sum += 2 + Text::BOUNDS[text];
        text += 1;
    }
    sum
};

/// One click, borrowed from the request and the link by the worker, or from the journal by the shipper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Click<'a> {
    /// UUIDv7.
    pub id: [u8; 16],
    /// The wall's time, milliseconds since the epoch.
    pub at_ms: u64,
    /// What was decided.
    pub outcome: Outcome,
    /// The HTTP status that went out.
    pub status: u16,
    /// Who carries the token on.
    pub carrier: Carrier,
    /// GET or HEAD.
    pub method: Method,
    /// The request's HTTP version.
    pub http: HttpVersion,
    /// What became of the presented cookie.
    pub cookie_state: CookieState,
    /// The visitor, if one is known and may be.
    pub visitor: Option<[u8; 16]>,
    /// The click that this one displaces, from a valid cookie.
    pub previous: Option<[u8; 16]>,
    /// The client's address, coarsened as `address_mode` says.
    pub address: Option<IpAddr>,
    /// How much of the address was kept.
    pub address_mode: AddressMode,
    /// Where the address was taken from.
    pub address_from: AddressFrom,
    /// What was said about consent.
    pub consent: Consent,
    /// Which privacy rule shaped this click.
    pub privacy: Privacy,
    /// One-bit facts.
    pub flags: Flags,
    /// Where in `destination` the token stood.
    pub token_at: Option<u16>,
    /// The id of the key that signed the URL token, as text.
    pub token_kid: Option<[u8; 8]>,
    /// The texts, by [`Text`].
    pub texts: [&'a [u8]; Text::COUNT],
}

/// Why bytes are not a click.
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

    /// Appends the bytes to `out`. Texts longer than their bound are cut, and [`Flags::TRUNCATED`] is set.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut flags = self.flags;
        let cut = self.texts.iter().zip(Text::BOUNDS).any(|(text, bound)| text.len() > bound);
        flags.set_if(Flags::TRUNCATED, cut);
        let mut fixed = [0u8; FIXED];
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
        fixed[81] = self.address_from as u8;
        fixed[82] = self.consent as u8;
        fixed[83] = self.privacy as u8;
        fixed[84..86].copy_from_slice(&flags.0.to_le_bytes());
        fixed[86..88].copy_from_slice(&self.token_at.unwrap_or(NO_TOKEN).to_le_bytes());
        fixed[88..96].copy_from_slice(&self.token_kid.unwrap_or_default());
        out.extend_from_slice(&fixed);
        for (text, bound) in self.texts.iter().zip(Text::BOUNDS) {
            let kept = &text[..text.len().min(bound)];
            out.extend_from_slice(&(kept.len() as u16).to_le_bytes());
            out.extend_from_slice(kept);
        }
    }

    /// Reads what [`Click::encode`] wrote. Bytes behind the last text are left to newer builds.
    pub fn decode(bytes: &'a [u8]) -> Result<Click<'a>, DecodeError> {
        use DecodeError::Malformed;
        let (&version, _) = bytes.split_first().ok_or(Malformed)?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let (fixed, mut rest) = bytes.split_first_chunk::<FIXED>().ok_or(Malformed)?;
        let mut texts = [&[][..]; Text::COUNT];
        for text in &mut texts {
            let (len, behind) = rest.split_first_chunk::<2>().ok_or(Malformed)?;
            (*text, rest) = behind.split_at_checked(usize::from(u16::from_le_bytes(*len))).ok_or(Malformed)?;
        }
        let id_at = |at: usize| -> Option<[u8; 16]> { fixed[at..at + 16].try_into().ok() };
        let nonzero = |at: usize| id_at(at).filter(|id| *id != [0; 16]);
        let u16_at = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        let mut at_ms = [0; 8];
        at_ms.copy_from_slice(&fixed[8..16]);
        let mut kid = [0; 8];
        kid.copy_from_slice(&fixed[88..96]);
        let address_mode = AddressMode::from_byte(fixed[80]).ok_or(Malformed)?;
        let address = id_at(64).map(|octets| Ipv6Addr::from(octets).to_canonical());
        Ok(Click {
            id: id_at(16).ok_or(Malformed)?,
            at_ms: u64::from_le_bytes(at_ms),
            outcome: Outcome::from_byte(fixed[1]).ok_or(Malformed)?,
            status: u16_at(2),
            carrier: Carrier::from_byte(fixed[4]).ok_or(Malformed)?,
            method: Method::from_byte(fixed[5]).ok_or(Malformed)?,
            http: HttpVersion::from_byte(fixed[6]).ok_or(Malformed)?,
            cookie_state: CookieState::from_byte(fixed[7]).ok_or(Malformed)?,
            visitor: nonzero(32),
            previous: nonzero(48),
            address: address.filter(|_| address_mode != AddressMode::None),
            address_mode,
            address_from: AddressFrom::from_byte(fixed[81]).ok_or(Malformed)?,
            consent: Consent::from_byte(fixed[82]).ok_or(Malformed)?,
            privacy: Privacy::from_byte(fixed[83]).ok_or(Malformed)?,
            flags: Flags(u16_at(84)),
            token_at: Some(u16_at(86)).filter(|at| *at != NO_TOKEN),
            token_kid: Some(kid).filter(|kid| *kid != [0; 8]),
            texts,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            address_from: AddressFrom::Peer,
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
        }
    }

    fn encoded(click: &Click<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        click.encode(&mut bytes);
        bytes
    }

    /// A file of the journal outlives the build that wrote it: these bytes never change within version 1.
    #[test]
    fn the_bytes_of_version_1_are_pinned() {
        let bytes = encoded(&click());
        let golden = include_bytes!("../../tests/fixtures/click.v1.bin");
        assert_eq!(bytes, golden, "the layout changed: raise VERSION instead");
        assert_eq!(Click::decode(golden), Ok(click()));
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = encoded(&click());
        bytes[0] = VERSION + 1;
        assert_eq!(Click::decode(&bytes), Err(DecodeError::Version(VERSION + 1)));
        assert_eq!(Click::decode(&[]), Err(DecodeError::Malformed));
    }

    #[test]
    fn a_text_beyond_its_bound_is_cut_and_flagged() {
        let long = [b'a'; 600];
        let mut click = click();
        click.texts[Text::UserAgent as usize] = &long;
        let bytes = encoded(&click);
        let read = Click::decode(&bytes).unwrap();
        assert_eq!(read.text(Text::UserAgent).len(), 512);
        assert!(read.flags.has(Flags::TRUNCATED));
    }

    /// Bounds are the writer's: whatever a build with wider ones left in the journal is delivered whole.
    #[test]
    fn a_text_beyond_its_bound_is_read_all_the_same_and_cut_where_it_is_written_again() {
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
        fn what_is_written_is_read(
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

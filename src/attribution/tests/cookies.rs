//! Cookies in headers: which one is found, and what its state is.

use super::*;
use crate::{
    attribution::cookie::{self, PresentedCookie},
    model::click::CookieState,
};

#[test]
fn cookies_are_found_by_their_whole_name_in_one_header_or_several() {
    let find = |headers: &[&'static str], name| -> Vec<String> {
        let values = find_cookie_values(headers.iter().map(|header| header.as_bytes()), name);
        values.map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
    };
    for (headers, want) in [
        (&[][..], &[][..]),
        (&["a=b; c=d"], &[]),
        (&["wp=x"], &["x"]),
        (&["a=b; wp=x; c=d"], &["x"]),
        (&["a=b;wp=x;"], &["x"]),
        (&["a=b", "", " wp=x ; c=d"], &["x"]),
        (&["wp=x=y"], &["x=y"]),
        (&["wp="], &[""]),
        (&["wpx=1; xwp=2; WP=3; wp"], &[]),
        (&["wp=x; wp=x"], &["x", "x"]),
        (&["wp=x", "wp=y"], &["x", "y"]),
        (&[";;; ;=;==;"], &[]),
    ] {
        assert_eq!(find(headers, cookie::SHARED_COOKIE), want, "{headers:?}");
    }
    assert_eq!(find(&["wp=a; __Host-wp=b"], cookie::HOST_COOKIE), ["b"]);
}

#[test]
fn of_several_cookies_the_latest_click_of_the_genuine_ones_counts() {
    let ring = golden_ring();
    let at = |ms: u64| String::from_utf8(cookie_token(&ring, &cookie_at(ms))).unwrap();
    let (older, newer, old) = (at(NOW - 5000), at(NOW), at(NOW - ATTRIBUTION_WINDOW_MS));
    let many = "wp=1; ".repeat(7);
    for (header, want) in [
        (format!("wp=1; wp={newer}"), Some(NOW)),
        (format!("wp={newer}; wp=1"), Some(NOW)),
        (format!("wp={older}; wp={newer}; wp=1"), Some(NOW)),
        (format!("wp={newer}; wp={older}"), Some(NOW)),
        (format!("wp={old}; wp={older}"), Some(NOW - 5000)),
        (format!("{many}wp={newer}"), Some(NOW)),
        (format!("{many}wp=1; wp={newer}"), None),
        ("wp=1; wp=2".to_owned(), None),
        (format!("wp={old}; wp=1"), None),
    ] {
        let mut payload = PayloadBuffer::default();
        let presented = ring.find_and_verify_cookie(NOW, [header.as_bytes()], "wp", &mut payload);
        let found = presented.claims.map(|claims| ClickId(claims.click_id).timestamp_ms());
        assert_eq!(found, want, "{header}");
        let state = if want.is_some() { CookieState::Valid } else { CookieState::Duplicate };
        assert_eq!(presented.state, state, "{header}");
    }
}

#[test]
fn each_state_of_a_presented_cookie_is_distinguished() {
    let ring = golden_ring();
    let good = String::from_utf8(cookie_token(&ring, &cookie_at(NOW))).unwrap();
    let old = String::from_utf8(cookie_token(&ring, &cookie_at(NOW - ATTRIBUTION_WINDOW_MS))).unwrap();
    let forged = good.replace(".q", ".r").replace(".C", ".D");
    for (header, want) in [
        ("a=b".to_owned(), CookieState::None),
        (format!("wp={good}"), CookieState::Valid),
        (format!("wp={old}"), CookieState::Expired),
        (format!("wp={forged}"), CookieState::BadMac),
        (format!("wp={}", good.replace("FiHrAYZq", "FiHrAYZr")), CookieState::UnknownKey),
        (format!("wp={}", &good[..good.len() - 1]), CookieState::Malformed),
        (format!("wp={}", "x".repeat(513)), CookieState::Malformed),
        ("wp=".to_owned(), CookieState::Malformed),
        (format!("wp={good}; wp={good}"), CookieState::Valid),
        (format!("wp={forged}; wp=1"), CookieState::Duplicate),
    ] {
        let mut payload = PayloadBuffer::default();
        let PresentedCookie { state, claims } =
            ring.find_and_verify_cookie(NOW, [header.as_bytes()], "wp", &mut payload);
        assert_eq!(state, want, "{header}");
        assert_eq!(claims.is_some(), want == CookieState::Valid);
    }
}

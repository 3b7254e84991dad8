//! URL templates from the checks at load to the destination of a click.

use proptest::prelude::*;

use url::Url;

use super::{
    PlaceholderValues, TokenPlace, UrlTemplate,
    builder::{Destination, check_destination_and_append_template},
    policy::{DestinationPolicy, check_and_normalize_web_url},
    url_error::{MAX_URL_LEN, UrlError},
};
use crate::{model::link::QueryPolicy, uri::percent};

const TOKEN: &[u8] = b"v1.abcdefgh.cGF5bG9hZA.bWFj";

fn destination(url: &str) -> Destination<'_> {
    Destination {
        url,
        code: Some("7Kq2ZpXa"),
        domain: "go.example.com",
        creator: "c 48/213",
        query: QueryPolicy::StoredWins,
        allow: None,
        append_token: true,
        token_param: "wp",
    }
}

fn built(destination: &Destination<'_>) -> Result<Vec<u8>, UrlError> {
    let policy = DestinationPolicy {
        app_schemes: vec!["shopapp".to_owned(), "javascript".to_owned()],
        allowed_hosts: Vec::new(),
    };
    let mut bytes = Vec::new();
    check_destination_and_append_template(destination, &policy, |host| host == "own.example", &mut bytes)
        .map(|()| bytes)
}

fn rendered(destination: &Destination<'_>, query: &str, token: Option<&[u8]>) -> String {
    let bytes = built(destination).unwrap();
    let values = PlaceholderValues { click_id: b"0199-id", token, query: query.as_bytes(), token_param: b"wp" };
    let mut out = b"before".to_vec();
    let at = UrlTemplate::from_bytes(&bytes).render_and_return_token_offset(&values, &mut out);
    let out = String::from_utf8(out).unwrap().split_off("before".len());
    if let (Some(at), Some(token)) = (at, token) {
        assert_eq!(&out.as_bytes()[usize::from(at.0)..][..token.len()], token);
    }
    out
}

fn plain(url: &str, query: &str) -> String {
    rendered(&destination(url), query, None)
}

#[test]
fn a_foreign_destination_gets_the_token_before_its_fragment() {
    let token = String::from_utf8_lossy(TOKEN);
    for (url, expected) in [
        ("https://a.example", format!("https://a.example/?wp={token}")),
        ("https://a.example/p?x=1", format!("https://a.example/p?x=1&wp={token}")),
        ("https://a.example/p?", format!("https://a.example/p?wp={token}")),
        ("https://a.example/p?x=1&", format!("https://a.example/p?x=1&wp={token}")),
        ("https://a.example/p?x=what?", format!("https://a.example/p?x=what?&wp={token}")),
        ("https://a.example/p#top?x", format!("https://a.example/p?wp={token}#top?x")),
        ("http://own.example/p", format!("http://own.example/p?wp={token}")),
        ("shopapp://product/1", format!("shopapp://product/1?wp={token}")),
    ] {
        assert_eq!(rendered(&destination(url), "", Some(TOKEN)), expected);
    }
}

#[test]
fn no_token_is_appended_where_the_link_forbids_it_or_there_is_none() {
    let forbids = Destination { append_token: false, ..destination("https://a.example/p") };
    assert_eq!(rendered(&forbids, "", Some(TOKEN)), "https://a.example/p");
    assert_eq!(rendered(&destination("https://a.example/p"), "", None), "https://a.example/p");
}

#[test]
fn a_template_says_where_its_token_stands() {
    let own = Destination { append_token: false, ..destination("https://own.example/p") };
    for (destination, place) in [
        (destination("https://a.example/p"), TokenPlace::Appended),
        (destination("https://own.example/p"), TokenPlace::AppendedWithoutCookie),
        (destination("http://own.example/p"), TokenPlace::Appended),
        (own, TokenPlace::None),
        (Destination { url: "https://own.example/{click_token}", ..own }, TokenPlace::Placeholders),
    ] {
        assert_eq!(UrlTemplate::from_bytes(&built(&destination).unwrap()).token_place(), place, "{destination:?}");
    }
    let given = rendered(&destination("https://own.example/p"), "", Some(TOKEN));
    assert_eq!(given, format!("https://own.example/p?wp={}", String::from_utf8_lossy(TOKEN)));
    let stored = built(&destination("https://own.example/p?wp=1"));
    assert_eq!(stored, Err(UrlError::TokenParam("wp".to_owned())), "an answer without a cookie would have two of them");
}

#[test]
fn a_token_that_is_missing_leaves_no_empty_segment_in_a_path() {
    for (url, expected) in [
        ("https://a.example/t/{click_token}/p", "https://a.example/t/none/p"),
        ("https://a.example/{click_token}", "https://a.example/none"),
        ("https://a.example/t-{click_token}/p?t={click_token}#{click_token}", "https://a.example/t-none/p?t=#"),
    ] {
        assert_eq!(plain(url, ""), expected);
    }
}

#[test]
fn a_url_can_carry_the_token_up_to_four_times() {
    let intent = "shopapp://p/1?t={click_token}&fallback=https%3A%2F%2Fa.example%2F%3Ft%3D{click_token}";
    let token = String::from_utf8_lossy(TOKEN);
    assert_eq!(
        rendered(&destination(intent), "", Some(TOKEN)),
        format!("shopapp://p/1?t={token}&fallback=https%3A%2F%2Fa.example%2F%3Ft%3D{token}")
    );
    let of_count = |count: usize| format!("https://a.example/{}", "{click_token}/".repeat(count));
    assert!(built(&destination(&of_count(4))).is_ok());
    assert_eq!(built(&destination(&of_count(5))), Err(UrlError::TooManyPlaceholders));
}

#[test]
fn a_sub_that_is_too_long_is_cut_between_two_characters() {
    let url = "https://a.example/?s={sub1}";
    for (value, kept) in [
        ("a".repeat(300), "a".repeat(255)),
        (format!("{}\u{e9}", "a".repeat(254)), "a".repeat(254)),
        (format!("{}%C3%A9", "a".repeat(253)), format!("{}%C3%A9", "a".repeat(253))),
        ("%ED%95%9C".repeat(90), "%ED%95%9C".repeat(85)),
        ("%F0%9F%98%80".repeat(64), "%F0%9F%98%80".repeat(63)),
    ] {
        assert_eq!(plain(url, &format!("sub1={value}&x=1")), format!("https://a.example/?s={kept}&x=1"));
    }
}

#[test]
fn a_sub_is_filled_in_however_its_name_is_written() {
    let url = "https://a.example/?s={sub1}";
    for query in
        ["sub1=reel", "Sub1=reel", "SUB1=reel", "%73ub1=reel", "amp;sub1=reel", "amp%3Bsub1=reel", "sub1=&sub1=reel"]
    {
        assert_eq!(plain(url, query), "https://a.example/?s=reel", "{query}");
    }
    assert_eq!(plain("https://a.example/", "a=1&amp;b=2&AMP;cons=1"), "https://a.example/?a=1&b=2");
}

#[test]
fn stored_parameters_win_on_php_and_rack_shops_too() {
    let url = "https://a.example/p?creator_id=c_1&filter%5Bbrand%5D=x";
    assert_eq!(plain("https://a.example/p?creator_id=c_1&filter[brand]=x", ""), url);
    for thief in ["creator[id=thief", "creator%5Bid=thief", "creator.id=thief", "creator+id=thief", "filter=thief"] {
        assert_eq!(plain(url, thief), url, "{thief}");
    }
    assert_eq!(plain(url, "filter[size]=9"), format!("{url}&filter%5Bsize%5D=9"));
    assert_eq!(plain(url, "filter[brand][]=y&creator[name]=z"), format!("{url}&creator%5Bname%5D=z"));
}

#[test]
fn values_are_percent_encoded_in_path_query_and_fragment() {
    let url = "https://a.example/{sub1}/{code}?c={creator}&id={click_id}&t={click_token}&s={sub2}#{sub3}";
    let token = String::from_utf8_lossy(TOKEN);
    assert_eq!(
        rendered(&destination(url), "sub1=a/b&sub2=x%26y+z&sub3=%22&other=1", Some(TOKEN)),
        format!("https://a.example/a%2Fb/7Kq2ZpXa?c=c%2048%2F213&id=0199-id&t={token}&s=x%26y%20z&other=1#%22")
    );
    assert_eq!(rendered(&destination(url), "", None), "https://a.example//7Kq2ZpXa?c=c%2048%2F213&id=0199-id&t=&s=#");
    let normal = UrlTemplate::from_bytes(&built(&destination(url)).unwrap()).to_url_text_with_placeholders();
    assert_eq!(normal, url.replace("{code}", "7Kq2ZpXa").replace("{creator}", "c%2048%2F213"));
}

#[test]
fn no_value_climbs_out_of_its_path_segment() {
    for dots in ["..", ".", "%2e%2E", ".%2e"] {
        assert_eq!(plain("https://a.example/x/{sub1}/y", &format!("sub1={dots}")), "https://a.example/x//y");
    }
    assert_eq!(plain("https://a.example/x/{sub1}", "sub1=../../etc"), "https://a.example/x/..%2F..%2Fetc");
}

#[test]
fn stored_parameters_win_by_default() {
    let url = "https://a.example/p?ref=good&x=1";
    for thief in ["ref=bad", "REF=bad", "%72ef=bad", "ref[]=bad", "a;ref=bad"] {
        let out = plain(url, thief);
        assert!(out == url || out == format!("{url}&a%3Bref=bad"), "{out}");
    }
    assert_eq!(plain(url, "utm_source=ig&ref=bad&utm_source=b&&=x"), format!("{url}&utm_source=ig&utm_source=b"));
    assert_eq!(plain("https://a.example/p", "a=1&b"), "https://a.example/p?a=1&b");
}

#[test]
fn incoming_parameters_win_if_the_link_says_so_but_never_over_the_click_id_or_token() {
    let url = "https://a.example/p?ref=stored&id={click_id}&x={sub1}#f";
    let link = Destination { query: QueryPolicy::IncomingWins, append_token: false, ..destination(url) };
    assert_eq!(rendered(&link, "ref=new&id=forged&y=2", None), "https://a.example/p?id=0199-id&x=&ref=new&y=2#f");
    assert_eq!(rendered(&link, "x=3", None), "https://a.example/p?ref=stored&id=0199-id&x=3#f");
    let only = Destination { allow: Some(&["ref".to_owned()]), ..link };
    let only = Destination { url: "https://a.example/p?ref=stored", ..only };
    assert_eq!(rendered(&only, "ref=new&y=2", None), "https://a.example/p?ref=new");
    assert_eq!(rendered(&only, "y=2", None), "https://a.example/p?ref=stored");
}

#[test]
fn an_allow_list_lets_only_its_names_through_and_drop_none() {
    let allow = ["utm_source".to_owned(), "gclid".to_owned()];
    let link = Destination { allow: Some(&allow), ..destination("https://a.example/p") };
    assert_eq!(rendered(&link, "a=1&utm_source=x&gclid=g", None), "https://a.example/p?utm_source=x&gclid=g");
    let none = Destination { query: QueryPolicy::Drop, ..destination("https://a.example/p") };
    assert_eq!(rendered(&none, "a=1&utm_source=x", None), "https://a.example/p");
}

#[test]
fn parameters_for_waypost_itself_are_not_forwarded() {
    assert_eq!(plain("https://a.example/p", "wp=forged&WP=x&sub1=a&cons=0&sub6=b"), "https://a.example/p?sub6=b");
}

#[test]
fn forwarding_is_bounded() {
    let long = format!("a={}&b=2&c={}", "x".repeat(3000), "y".repeat(3000));
    let out = plain("https://a.example/p", &long);
    assert!(out.ends_with("&b=2"), "{out}");
    let none = plain("https://a.example/p", &format!("a={}", "\u{e9}".repeat(1000)));
    assert_eq!(none, "https://a.example/p");
}

#[test]
fn a_url_that_is_refused_says_why() {
    for (url, why) in [
        ("/relative", "not an absolute URL"),
        ("//a.example/", "not an absolute URL"),
        ("https:a.example", "no // behind the scheme"),
        ("javascript://a/%0aalert(1)", "has the scheme"),
        ("ftp://a.example/", "allowed are https, http, shopapp"),
        ("mailto:a@b.example", "has the scheme"),
        ("https://user@a.example/", "user name or password"),
        ("https://u:p@a.example/", "user name or password"),
        ("https://a.example/\n", "white space (U+000A) at character 19"),
        ("https://a.example/\tx", "white space (U+0009) at character 19"),
        ("https://a.example/\0", "a control character (U+0000) at character 19"),
        (" https://a.example/", "white space (U+0020) at character 1"),
        ("https://a.example/  ", "white space (U+0020) at character 19"),
        ("https://a.example/{nope}", "holds \"{nope}\""),
        ("https://a.example/{\"a\":1}", "holds \"{\\\"a\\\":1}\""),
        ("https://a.example/}", "holds \"}\""),
        ("https://a.example/{", "holds \"{\""),
        ("https://{sub1}.example/", "in scheme, host"),
        ("https://a.example:{sub1}/", "in scheme, host"),
        ("{sub1}://a.example/", "in scheme, host"),
        ("https:///{code}/x", "no host behind //"),
        ("https://a.example{sub1}", "in scheme, host"),
        ("https://{sub1}@a.example/", "in scheme, host"),
        ("https://a.example/{sub1}/../x", "in scheme, host"),
        ("https://a.example/?{sub1}=x", "a parameter's name"),
        ("https://a.example/?a=1&b{sub1}=x", "a parameter's name"),
        (
            "https://a.example/?t={click_token}{click_token}{click_token}{click_token}{click_token}",
            "4 {click_token} among",
        ),
        ("https://a.example/?WP=1", "the name of the token's"),
        ("https://", "absolute URL"),
        ("https://a b.example/", "absolute URL"),
    ] {
        let error = built(&destination(url)).expect_err(url).to_string();
        assert!(error.contains(why), "{url}: {error}");
    }
    let long = format!("https://a.example/{}", "x".repeat(MAX_URL_LEN));
    assert!(matches!(built(&destination(&long)), Err(UrlError::TooLong(_))));
    let nobody = Destination { creator: "", ..destination("https://a.example/{creator}") };
    assert_eq!(built(&nobody), Err(UrlError::NoCreator));
    assert_eq!(check_and_normalize_web_url("https://a.example/{sub1}"), Err(UrlError::NoPlaceholdersAllowed));
}

#[test]
fn hosts_are_normalised_and_an_allow_list_bounds_them() {
    assert_eq!(plain("HTTPS://B\u{fc}cher.Example/\u{e4}?\u{f6}", ""), "https://xn--bcher-kva.example/%C3%A4?%C3%B6");
    let policy =
        DestinationPolicy { app_schemes: Vec::new(), allowed_hosts: vec!["a.example".into(), "*.b.example".into()] };
    for (url, allowed) in [
        ("https://a.example/", true),
        ("https://A.example:8443/", true),
        ("https://x.b.example/", true),
        ("https://b.example/", false),
        ("https://xb.example/", false),
        ("https://x.a.example/", false),
    ] {
        assert_eq!(policy.check_and_normalize_url_without_placeholders(url).is_ok(), allowed, "{url}");
    }
}

fn names(url: &Url) -> Vec<(String, String)> {
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

proptest! {
    #[test]
    fn for_any_query_the_destination_is_a_header_value_on_the_same_host_with_the_same_stored_parameters(
        query in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(&b"&=%?#;/.+ref2sub1wp[]\r\n"[..])], 0..200
        ),
        stored in prop::sample::select(&[
            "https://shop.example.com:8443/a/{sub1}/b?ref=c_1&x=%26&s={sub2}#frag{sub3}",
            "https://shop.example.com/", "https://shop.example.com/?", "https://shop.example.com/{sub1}{sub2}",
            "https://shop.example.com/p?ref={click_id}&t={click_token}",
        ][..]),
        policy in prop::sample::select(&QueryPolicy::ALL[..]),
        token: bool,
    ) {
        let link = Destination { query: policy, ..destination(stored) };
        let bytes = built(&link).unwrap();
        let token_value = token.then_some(TOKEN);
        let values = PlaceholderValues { click_id: b"0199-id", token: token_value, query: &query, token_param: b"wp" };
        let mut out = Vec::new();
        let at = UrlTemplate::from_bytes(&bytes).render_and_return_token_offset(&values, &mut out);
        prop_assert!(http::HeaderValue::from_bytes(&out).is_ok());
        prop_assert_eq!(at.is_some(), token);
        let text = String::from_utf8(out).unwrap();
        let (url, base) = (Url::parse(&text).unwrap(), Url::parse(&plain(stored, "")).unwrap());
        // A browser has nothing left to normalise, so it goes to this URL exactly.
        prop_assert_eq!(url.as_str(), &text);
        prop_assert_eq!(url.origin(), base.origin());
        let depth = |url: &Url| url.path_segments().map(Iterator::count);
        prop_assert_eq!(depth(&url), depth(&base));
        if policy == QueryPolicy::StoredWins {
            let (all, own) = (names(&url), names(&base));
            for (place, (name, value)) in own.iter().enumerate() {
                prop_assert_eq!(&all[place].0, name);
                let filled = name == "s" || name == "t";
                prop_assert!(filled || all[place].1 == *value);
                prop_assert_eq!(all.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).count(), 1);
            }
        }
        let tokens = names(&url).iter().filter(|(name, _)| name.eq_ignore_ascii_case("wp")).count();
        prop_assert!(tokens <= usize::from(token));
    }

    #[test]
    fn no_url_makes_building_panic_and_each_destination_is_a_header_value(
        url in ".{0,60}", front in prop::sample::select(
        &["", "https://a.example/", "https://", "https://a.example/?", "shopapp://", "https://a.example/{sub1}"][..])) {
        let url = format!("{front}{url}");
        if let Ok(bytes) = built(&destination(&url)) {
            let values = PlaceholderValues { click_id: b"id", token: Some(TOKEN), query: b"a=b", token_param: b"wp" };
            let mut out = Vec::new();
            UrlTemplate::from_bytes(&bytes).render_and_return_token_offset(&values, &mut out);
            prop_assert!(http::HeaderValue::from_bytes(&out).is_ok());
        }
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let template = UrlTemplate::from_bytes(&bytes);
        let _ = (template.token_place(), template.query_policy());
    }
}

proptest! {
    /// What a shop finds in a URL inside a value, after it has decoded the value and then the URL's own parameter.
    #[test]
    fn a_value_in_a_nested_url_comes_back_whole_and_stays_in_its_parameter(value in "[ -~\u{e4}]{1,40}") {
        let mut query = b"q=".to_vec();
        percent::push_percent_encoded(value.bytes(), &mut query);
        let url = plain(
            "https://a.example/?deep=https%3A%2F%2Fb.example%2F%3Fq%3D{query:q}%26x%3D1",
            std::str::from_utf8(&query).unwrap(),
        );
        let outer = Url::parse(&url).unwrap();
        let inner = outer.query_pairs().find(|(name, _)| name == "deep").unwrap().1.into_owned();
        let inner = Url::parse(&inner).unwrap();
        let pairs: Vec<(String, String)> = inner.query_pairs().into_owned().collect();
        prop_assert_eq!(pairs, [("q".to_owned(), value), ("x".to_owned(), "1".to_owned())]);
    }
}

#[test]
fn a_template_of_named_parameters_is_written_again_as_it_was_read() {
    let url = "https://a.example/{query:a}/{os}?b={query:b-1}&a={query:a}&t={click_ms}#{country}";
    let bytes = built(&destination(url)).unwrap();
    assert_eq!(UrlTemplate::from_bytes(&bytes).to_url_text_with_placeholders(), url);
    assert_eq!(plain(url, "a=x&b-1=%26"), "https://a.example/x/none?b=%26&a=x&t=&b-1=%26#");
    let nine = (0..9).map(|at| format!("{{query:a{at}}}")).collect::<String>();
    assert_eq!(built(&destination(&format!("https://a.example/{nine}"))), Err(UrlError::TooManyPlaceholders));
    for bad in ["{query:}", "{query:a b}", "{query:a/b}", "{query}", "{Os}"] {
        let refused = built(&destination(&format!("https://a.example/{bad}")));
        assert!(matches!(refused, Err(UrlError::UnknownPlaceholder(_))), "{bad}");
    }
}

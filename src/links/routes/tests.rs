use proptest::prelude::*;

use super::*;
use crate::model::code;

fn settings(toml: &str) -> RouteSettings {
    toml::from_str(&format!("name = \"r\"\n{toml}")).unwrap()
}

fn route(toml: &str) -> Route {
    Route::compile(&settings(toml)).unwrap()
}

/// Reads a request `path?query`.
fn read(route: &Route, request: &str) -> Result<(String, [String; SUB_COUNT]), RouteMismatch> {
    let (path, query) = request.split_once('?').unwrap_or((request, ""));
    let found = route.try_match(path.as_bytes(), query.as_bytes())?;
    Ok((found.code.as_str().to_owned(), found.subs.map(|sub| String::from_utf8(sub).unwrap())))
}

fn code_of(route: &Route, request: &str) -> Result<String, RouteMismatch> {
    read(route, request).map(|(code, _)| code)
}

/// The keys of the errors of a route, with their messages.
fn errors(toml: &str) -> Vec<(String, String)> {
    let errors = Route::compile(&settings(toml)).err().unwrap_or_default();
    errors.into_iter().map(|error| (error.key, error.message)).collect()
}

#[test]
fn names_are_decoded_once_and_compared_with_case_and_html_is_forgiven() {
    let tune = route("path = \"/aff_c\"\ncode = \"{query:offer_id}-{query:aff_id}\"");
    for request in [
        "/aff_c?offer_id=1&aff_id=2",
        "/aff_c/?aff_id=2&offer_id=1",
        "/aff%5Fc?offer%5fid=%31&aff_id=2",
        "/aff_c?offer_id=1&amp;aff_id=2",
        "/aff_c?&offer_id=1&aff_id=2&aff_id=%32",
    ] {
        assert_eq!(code_of(&tune, request).as_deref(), Ok("1-2"), "{request}");
    }
    for (request, why) in [
        ("/aff_c", RouteMismatch::Incomplete),
        ("/AFF_C?offer_id=1&aff_id=2", RouteMismatch::Path),
        ("/aff_c//?offer_id=1&aff_id=2", RouteMismatch::Path),
        ("//aff_c?offer_id=1&aff_id=2", RouteMismatch::Path),
        ("/aff_c?offer_id=&offer_id=1&aff_id=2", RouteMismatch::Ambiguous),
        ("/aff_c?offer_id=%2531&aff_id=2", RouteMismatch::Character),
        ("/aff_c?offer_id=1+&aff_id=2", RouteMismatch::Character),
        ("/aff_c?offer_id=1%00&aff_id=2", RouteMismatch::Character),
        ("/aff_c?offer_id=\u{e9}&aff_id=2", RouteMismatch::Character),
    ] {
        assert_eq!(code_of(&tune, request), Err(why), "{request}");
    }
    let longest = format!("/aff_c?offer_id={}&aff_id=2", "1".repeat(62));
    assert_eq!(code_of(&tune, &longest).unwrap().len(), code::MAX);
}

#[test]
fn a_translation_keeps_two_offers_apart() {
    let toml = "path = \"/c/{id}\"\ncode = \"{path:id}\"\ntranslate = { \".\" = \"_\", \"-\" = \"0\" }";
    let route = route(toml);
    assert_eq!(code_of(&route, "/c/1.2").as_deref(), Ok("1_2"));
    assert_eq!(code_of(&route, "/c/1-2").as_deref(), Ok("102"));
    for taken in ["/c/1_2", "/c/10"] {
        assert_eq!(code_of(&route, taken), Err(RouteMismatch::Character), "{taken}");
    }
}

#[test]
fn pairs_end_before_a_destination_and_are_nothing_but_pairs() {
    let route = route("path = \"/click/**\"\npairs = \":\"\ncode = \"{pair:camref}\"\nsub = [\"pair:pubref\"]");
    for (request, code, sub) in [
        ("/click/camref:a/pubref:x", "a", "x"),
        ("/click/pubref:x/camref:a/", "a", "x"),
        ("/click/camref:a/destination:https://evil.example/camref:b/pubref:y", "a", ""),
        ("/click/camref:a/to:https://evil.example/pubref:y", "a", ""),
        ("/click/camref%3Aa/pubref:x%20y", "a", "x y"),
        ("/click/camref:a/camref:a/pubref:x:y", "a", "x:y"),
    ] {
        let (found, subs) = read(&route, request).unwrap();
        assert_eq!((&*found, &*subs[0]), (code, sub), "{request}");
    }
    for (request, why) in [
        ("/click", RouteMismatch::Path),
        ("/click/camref:a/x", RouteMismatch::Path),
        ("/click/:a/camref:a", RouteMismatch::Path),
        ("/click/camref:a/camref:b", RouteMismatch::Ambiguous),
        ("/click/destination:x/camref:a", RouteMismatch::Incomplete),
        ("/click/Camref:a", RouteMismatch::Incomplete),
    ] {
        assert_eq!(read(&route, request), Err(why), "{request}");
    }
}

#[test]
fn one_source_can_hold_several_subs() {
    let route = route("path = \"/\"\ncode = \"{query:c}\"\nsub = [\"query:s\"]\nsplit = \"||\"");
    let subs = |request: &str| read(&route, request).unwrap().1;
    assert_eq!(subs("/?c=1&s=a||b||||d"), ["a", "b", "", "d", ""]);
    assert_eq!(subs("/?c=1&s=a|b"), ["a|b", "", "", "", ""]);
    assert_eq!(subs("/?c=1&s=1%7C%7C2||3||4||5||6"), ["1", "2", "3", "4", "5"]);
    assert_eq!(subs("/?c=1"), [""; 5]);
}

#[test]
fn every_error_of_a_route_is_told_with_its_key() {
    let keys = |toml: &str| errors(toml).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    let all =
        "path = \"c\"\ncode = \"{x}\"\npairs = \"::\"\nsub = [\"q\"]\nsplit = \"\"\ntranslate = { \".\" = \"..\" }";
    assert_eq!(keys(all), ["pairs", "path", "translate", "code", "sub", "split"]);
    for (toml, key, holds) in [
        ("code = \"{query:a}\"", "path", "is missing"),
        ("path = \"/c/x\"", "code", "is missing"),
        ("path = \"/c/x\"\ncode = \"abc\"", "code", "it needs a value"),
        ("path = \"/c/x\"\ncode = \"{query:a}{query:b}\"", "code", "a character between"),
        ("path = \"/c/x\"\ncode = \"{query:a}.{query:b}\"", "code", "'.' outside of braces"),
        ("path = \"/c/x\"\ncode = \"{query:a\"", "code", "not closed"),
        ("path = \"/c/x\"\ncode = \"{query:}\"", "code", "without a name"),
        ("path = \"/c/x\"\ncode = \"{path:a}\"", "code", "no segment {a}"),
        ("path = \"/c/x\"\ncode = \"{query:a}\"\nsub = [\"pair:b\"]", "sub", "no `pairs`"),
        ("path = \"/c/{a}-{b}\"\ncode = \"{query:a}\"", "path", "{a}-{b}"),
        ("path = \"/c/{a}/{a}\"\ncode = \"{path:a}\"", "path", "twice"),
        ("path = \"/c/**/x\"\ncode = \"{query:a}\"", "path", "**"),
        ("path = \"/c//x\"\ncode = \"{query:a}\"", "path", "empty segment"),
        ("path = \"/c/x?a=1\"\ncode = \"{query:a}\"", "path", "x?a=1"),
        ("path = \"/robots.txt\"\ncode = \"{query:a}\"", "path", "answers itself"),
        ("path = \"/c/x\"\npairs = \":\"\ncode = \"{query:a}\"", "pairs", "/**"),
        (
            "path = \"/c/x\"\ncode = \"{query:a}\"\nsub = [\"query:a\", \"query:b\"]\nsplit = \",\"",
            "split",
            "`sub` has 2",
        ),
        (
            "path = \"/c/x\"\ncode = \"{query:a}-{query:b}\"\ntranslate = { \".\" = \"-\" }",
            "translate",
            "stands between",
        ),
        (
            "path = \"/c/x\"\ncode = \"{query:a}\"\ntranslate = { \".\" = \"_\", \"*\" = \"_\" }",
            "translate",
            "one code",
        ),
        ("path = \"/c/x\"\ncode = \"{query:a}\"\ntranslate = { \".\" = \"+\" }", "translate", "no code can hold"),
    ] {
        let found = errors(toml);
        assert!(found.iter().any(|(found, message)| found == key && message.contains(holds)), "{toml}: {found:?}");
    }
}

#[test]
fn a_path_that_looks_like_any_code_is_refused_and_one_code_is_known() {
    for any in ["/{a}", "/{a}/", "/**", "/!/{a}", "/{a}/&x"] {
        let found = errors(&format!("path = \"{any}\"\ncode = \"{{query:x}}\""));
        assert!(found.iter().any(|(key, message)| key == "path" && message.contains("looks like a code")), "{any}");
    }
    for (path, code) in [("/aff_c", "aff_c"), ("/aff_c/", "aff_c"), ("/go!", "go"), ("/go&x", "go")] {
        let routes = Routes::compile(&[settings(&format!("path = \"{path}\"\ncode = \"{{query:x}}\""))]).unwrap();
        assert!(routes.find_shadowed_by(code.as_bytes(), false).is_some(), "{path}");
        assert!(routes.find_shadowed_by(b"other", false).is_none(), "{path}");
        let upper = code.to_ascii_uppercase();
        assert!(routes.find_shadowed_by(upper.as_bytes(), false).is_none(), "{path}");
        assert!(routes.find_shadowed_by(upper.as_bytes(), true).is_some(), "{path}");
    }
    for never in ["/", "/r.cfm", "/c/{a}", "/{a}/{b}", "/c/**"] {
        let routes = Routes::compile(&[settings(&format!("path = \"{never}\"\ncode = \"{{query:x}}\""))]).unwrap();
        for code in ["r", "cfm", "c", "x"] {
            assert!(routes.find_shadowed_by(code.as_bytes(), true).is_none(), "{never} {code}");
        }
    }
}

#[test]
fn two_routes_of_a_host_have_two_names() {
    let toml = "1 = { domain = \"A.example\", name = \"r\", path = \"/a/b\", code = \"{query:x}\" }\n\
                2 = { domain = \"a.example\", name = \"r\", path = \"/a/c\", code = \"{query:x}\" }\n\
                3 = { domain = \"b.example\", name = \"r\", path = \"/a/c\", code = \"{query:x}\" }\n\
                4 = { domain = \"b.example:80\", name = \"\", path = \"/a/c\", code = \"{query:x}\" }";
    let config: Config = toml::from_str(toml).unwrap();
    let keys: Vec<String> = config.list_invalid_values().into_iter().map(|error| error.key).collect();
    assert_eq!(keys, ["2.name", "4.domain", "4.name"]);
}

proptest! {
    /// A simple model: the values are looked up in a list of decoded parameters.
    #[test]
    fn a_code_is_made_of_the_only_values_of_its_names(
        pairs in prop::collection::vec(("[ab]", "[0-2._-]{0,2}"), 0..5),
    ) {
        let route = route("path = \"/c/x\"\ncode = \"{query:a}-{query:b}\"\ntranslate = { \".\" = \"_\" }");
        let query: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let only = |wanted: &str| {
            let mut values = pairs.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value);
            let first = values.next()?;
            let is_good = values.all(|value| value == first) && !first.is_empty() && !first.contains(['-', '_']);
            is_good.then(|| first.replace('.', "_"))
        };
        let expected = only("a").zip(only("b")).map(|(a, b)| format!("{a}-{b}"));
        prop_assert_eq!(code_of(&route, &format!("/c/x?{}", query.join("&"))).ok(), expected);
    }

    #[test]
    fn two_requests_with_other_values_never_have_one_code(
        one in ("[0-2._-]{1,3}", "[0-2._-]{1,3}"), other in ("[0-2._-]{1,3}", "[0-2._-]{1,3}"),
    ) {
        let route = route("path = \"/c/{a}/{b}\"\ncode = \"{path:a}--{path:b}\"\ntranslate = { \".\" = \"_\" }");
        let code = |(a, b): &(String, String)| code_of(&route, &format!("/c/{a}/{b}"));
        if let (Ok(code_of_one), Ok(code_of_other)) = (code(&one), code(&other)) {
            prop_assert_eq!(code_of_one == code_of_other, one == other);
        }
    }

    #[test]
    fn any_request_is_read_without_a_panic(path in "/[ -~]{0,60}", query in "[ -~]{0,60}") {
        let routes = [
            "path = \"/c/{a}/**\"\npairs = \":\"\ncode = \"{pair:a}-{path:a}\"\nsub = [\"pair:b\", \"query:b\"]",
            "path = \"/\"\ncode = \"{query:a}\"\nsub = [\"query:b\"]\nsplit = \",\"",
            "path = \"/{a}/{b}\"\ncode = \"x-{path:b}\"",
        ];
        for toml in routes {
            if let Ok(found) = route(toml).try_match(path.as_bytes(), query.as_bytes()) {
                prop_assert!((1..=code::MAX).contains(&found.code.as_bytes().len()));
            }
        }
    }
}

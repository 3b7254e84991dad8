//! Judges a user agent by its form: a browser names its platform and its engine, a machine names itself, its address
//! or its trade. A rule holds for machines that no list names yet.

use super::{
    addresses::has_host_name_or_mail_address,
    agent_traits::AgentKind,
    shape::AgentShape,
    token::{Sign, Signs},
};

/// A rule, and the reason that the event gives.
type FormRule = (fn(&AgentShape<'_>, Signs) -> bool, &'static str);

/// What only machines do, in an agent of any form.
const RULES: &[FormRule] = &[
    (has_address, "form:address"),
    (|_, signs| signs.has(Sign::CompatibleName), "form:compatible_name"),
    (|_, signs| signs.has(Sign::GoogleService), "form:google_service"),
    (|_, signs| signs.has(Sign::PlatformWithoutScreen), "form:no_screen"),
    (|_, signs| signs.has(Sign::ListedAgent), "form:listed_agent"),
];

/// What only machines do that call themselves a browser.
const BROWSER_RULES: &[FormRule] = &[
    (lacks_platform, "form:no_platform"),
    (|_, signs| signs.has(Sign::EngineRemark) && !signs.has(Sign::BrowserRemark), "form:engine_remark"),
    (lacks_engine, "form:no_engine"),
    (is_explorer_with_products, "form:explorer_product"),
    (has_trade_word, "form:trade_word"),
    (has_name_in_place_of_version, "form:engine_product"),
    (has_remark_behind_safari, "form:remark"),
];

/// What the form says of an agent that no list names as a machine; `None` for a person's browser. `starts_with_app`:
/// the agent is the own one of an app with a browser.
pub(super) fn judge_form(
    shape: &AgentShape<'_>,
    signs: Signs,
    starts_with_app: bool,
) -> Option<(AgentKind, &'static str)> {
    let find = |rules: &[FormRule]| {
        let rule = rules.iter().find(|(holds, _)| holds(shape, signs));
        rule.map(|(_, reason)| (AgentKind::Bot, *reason))
    };
    // Makers of phones and televisions put their own words before the agent.
    if shape.has_browser_start() || signs.has(Sign::HandheldOrTv) && has_engine(shape) {
        find(RULES).or_else(|| find(BROWSER_RULES))
    } else if starts_with_app || signs.has(Sign::OldBrowser) {
        find(RULES)
    } else {
        Some((AgentKind::Unrecognised, "not_a_browser"))
    }
}

fn has_address(shape: &AgentShape<'_>, signs: Signs) -> bool {
    !signs.has(Sign::MakersAddress)
        && (signs.has(Sign::WebAddress) || has_host_name_or_mail_address(shape, signs.has(Sign::HandheldOrTv)))
}

/// `Mozilla/5.0 NAME`. Some devices name themselves alone; they have an engine.
fn lacks_platform(shape: &AgentShape<'_>, signs: Signs) -> bool {
    if signs.has(Sign::Platform) || signs.has(Sign::HandheldOrTv) {
        return false;
    }
    let has_webkit = has_engine(shape) && shape.contains(b"safari/");
    let has_engine = has_webkit || shape.contains(b"gecko") && has_gecko_version(shape);
    !has_engine || shape.platform().is_empty()
}

fn has_engine(shape: &AgentShape<'_>) -> bool {
    [&b"webkit"[..], b"presto/", b"khtml/"].iter().any(|engine| shape.contains(engine))
}

/// `rv:` and a digit.
fn has_gecko_version(shape: &AgentShape<'_>) -> bool {
    memchr::memmem::find_iter(shape.user_agent(), b"rv:")
        .any(|at| shape.user_agent().get(at + 3).is_some_and(u8::is_ascii_digit))
}

/// `Mozilla/5.0 (Windows NT 10.0; Win64; x64)` and no more; or a version of Gecko without Gecko.
fn lacks_engine(shape: &AgentShape<'_>, signs: Signs) -> bool {
    let products = shape.products();
    if products.contains(&b'/') {
        return false;
    }
    let is_platform_alone = products.trim_ascii().is_empty() && !shape.is_platform_unclosed();
    let needs_engine = !signs.has(Sign::Explorer)
        && !signs.has(Sign::DeviceWithoutEngine)
        && shape.user_agent().starts_with(b"Mozilla/5.0 (");
    is_platform_alone && needs_engine && !has_engine(shape) || has_gecko_version(shape) && !shape.contains(b"gecko")
}

/// Internet Explorer has nothing behind its platform, but on phones.
fn is_explorer_with_products(shape: &AgentShape<'_>, signs: Signs) -> bool {
    let products = shape.products().trim_ascii();
    if !signs.has(Sign::Explorer) || signs.has(Sign::OldBrowser) || products.is_empty() {
        return false;
    }
    let is_desktop = memchr::memmem::find(shape.platform(), b"Windows NT").is_some();
    is_desktop && !products.starts_with(b"Opera") && !products.starts_with(b"like Gecko")
}

fn has_trade_word(_: &AgentShape<'_>, signs: Signs) -> bool {
    signs.has(if signs.has(Sign::HandheldOrTv) { Sign::RareTradeWord } else { Sign::TradeWord })
}

/// `(KHTML, like Gecko) NAME Safari/537.36`: browsers have their version there.
fn has_name_in_place_of_version(shape: &AgentShape<'_>, signs: Signs) -> bool {
    let is_desktop = signs.has(Sign::Desktop) && !signs.has(Sign::HandheldOrTv);
    is_desktop
        && !shape.is_platform_unclosed()
        && !VERSIONS_BEFORE_SAFARI.iter().any(|version| shape.contains(version))
        && shape.contains(b"safari/")
        && has_engine(shape)
}

/// `Safari/537.36 (NAME)`
fn has_remark_behind_safari(shape: &AgentShape<'_>, signs: Signs) -> bool {
    if signs.has(Sign::HandheldOrTv) {
        return false;
    }
    let products = shape.products();
    let Some(open) = memchr::memrchr(b'(', products) else { return false };
    let (before, remark) = products.split_at(open);
    let before = before.trim_ascii_end();
    let version_len = before.iter().rev().take_while(|byte| b"0123456789.".contains(byte)).count();
    let is_behind_safari = before[..before.len() - version_len].ends_with(b"Safari/");
    is_behind_safari && remark.get(1).is_some_and(u8::is_ascii_alphabetic) && !remark.starts_with(b"(Edition")
}

/// What WebKit's browsers have before `Safari/`: the version of Safari, or their own name.
const VERSIONS_BEFORE_SAFARI: &[&[u8]] = &[
    b"chrome/",
    b"version/",
    b"chromium/",
    b"crios/",
    b"gecko) safari/",
    b"silk/",
    b"arora/",
    b"midori/",
    b"epiphany/",
    b"konqueror/",
    b"omniweb/",
    b"iron/",
    b"shiira/",
    b"rekonq/",
    b"qupzilla/",
    b"icab/",
    b"maxthon/",
    b"uzbl",
    b"luakit",
    b"dooble",
    b"browser",
    b"spotify/",
    b"fluid/",
    b"snowshoe/",
    b"sunrise/",
    b"stainless/",
    b"cruz/",
    b"qtweb ",
    b"skyfire/",
    b"cheshire/",
    b"webos",
    b"kazehakase/",
    b"leechcraft",
    b"vimprobable",
    b"surf/",
    b"deskbrowse",
    b"roccat/",
    b"raven/",
    b"teashark",
    b"lunascape",
    b"sleipnir",
    b"netfront",
    b"osmeta/",
    b"otter/",
    b"falkon/",
];

/// The names behind `compatible;` in people's browsers. `U` is the encryption of an old browser.
const OLD_BROWSERS: &[&[u8]] = &[
    b"konqueror",
    b"u;",
    b"webpositive",
    b"netpositive",
    b"icab",
    b"omniweb",
    b"ibrowse",
    b"opera",
    b"aol",
    b"amiga",
    b"linux",
    b"windows nt",
    b"windows phone",
];

/// Whether the text behind `compatible;` names a person's browser.
pub(super) fn is_old_browser_name(name: &[u8]) -> bool {
    let starts_with = |start: &[u8]| name.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start));
    let is_explorer = starts_with(b"msie ") && name.get(5).is_some_and(u8::is_ascii_digit);
    is_explorer || OLD_BROWSERS.iter().any(|old| starts_with(old))
}

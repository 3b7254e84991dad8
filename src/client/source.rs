//! Names the platform that a click came from and the app whose browser shows it, by tables of app packages, sites and
//! `utm_source` words. No allocation, no state.

use crate::{
    client::{
        query_params::QueryParams,
        user_agent::agent_traits::{AgentTraits, KnownApp},
    },
    uri::host::{SchemeAndHost, find_scheme_and_host},
};

/// The app's own browser that shows the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InAppBrowser {
    /// Whether there is one.
    pub(crate) is_in_app: bool,
    /// The app's name; empty if unknown.
    pub(crate) name: &'static str,
}

/// The app's own browser, by the package that Android sends and by the user agent.
pub(crate) fn find_in_app_browser(app_package: &[u8], agent: &AgentTraits) -> InAppBrowser {
    let app = find_app_of_package(app_package).or(agent.app);
    InAppBrowser {
        is_in_app: app.is_some() || agent.is_webview || !app_package.is_empty() && !is_browser_package(app_package),
        name: app.map_or("", |app| app.name),
    }
}

/// The platform, and the sign that names it. The surest sign counts: the app that shows the page, the page with the
/// link, an ad click id, a share id, then the link's own query. `fbclid` is the last sign: Instagram and Facebook both
/// add it.
pub(crate) fn find_source_with_reason(
    app_package: &[u8],
    referer: &[u8],
    params: &QueryParams<'_>,
    agent: &AgentTraits,
) -> (&'static str, &'static str) {
    if let Some(app) = find_app_of_package(app_package) {
        return (app.source, "app_package");
    }
    if let Some(app) = agent.app {
        return (app.source, "user_agent");
    }
    let referer = find_source_of_referer_or_web(referer);
    if let Some(source) = referer.filter(|source| *source != "web") {
        return (source, "referer");
    }
    let ad = params.ad_click_id.as_ref();
    if let Some(ad) = ad.filter(|ad| ad.name != "fbclid") {
        return (ad.source, "ad_click_id");
    }
    if params.has_instagram_share_id {
        return ("instagram", "share_id");
    }
    if let Some(source) = find_source_of_utm_source(params.utm_source) {
        return (source, "utm_source");
    }
    if params.utm_medium.eq_ignore_ascii_case(b"email") {
        return ("email", "utm_medium");
    }
    if let Some(ad) = ad {
        return (ad.source, "ad_click_id");
    }
    match referer {
        Some(source) => (source, "referer"),
        None => ("direct", "no_referer"),
    }
}

/// The known app of an Android package (`X-Requested-With`).
fn find_app_of_package(package: &[u8]) -> Option<KnownApp> {
    let (name, source) = match package {
        b"com.instagram.android" | b"com.instagram.lite" => ("instagram", "instagram"),
        b"com.instagram.barcelona" => ("threads", "threads"),
        b"com.facebook.katana" | b"com.facebook.lite" => ("facebook", "facebook"),
        b"com.facebook.orca" | b"com.facebook.mlite" => ("messenger", "messenger"),
        b"com.zhiliaoapp.musically" | b"com.zhiliaoapp.musically.go" | b"com.ss.android.ugc.trill" => {
            ("tiktok", "tiktok")
        }
        b"com.ss.android.ugc.aweme" | b"com.ss.android.ugc.aweme.lite" => ("douyin", "douyin"),
        b"com.google.android.youtube" => ("youtube", "youtube"),
        b"com.google.android.gm" => ("gmail", "email"),
        b"com.microsoft.office.outlook" => ("outlook", "email"),
        b"com.yahoo.mobile.client.android.mail" => ("yahoo_mail", "email"),
        b"com.samsung.android.email.provider" => ("samsung_email", "email"),
        b"com.twitter.android" | b"com.twitter.android.lite" => ("x", "x"),
        b"com.whatsapp" | b"com.whatsapp.w4b" => ("whatsapp", "whatsapp"),
        b"org.telegram.messenger" | b"org.telegram.messenger.web" => ("telegram", "telegram"),
        b"jp.naver.line.android" => ("line", "line"),
        b"com.kakao.talk" => ("kakaotalk", "kakaotalk"),
        b"com.kakao.story" => ("kakaostory", "kakaostory"),
        b"com.nhn.android.search" => ("naver", "naver"),
        b"com.nhn.android.blog" => ("naver_blog", "blog"),
        b"com.nhn.android.navercafe" => ("naver_cafe", "naver"),
        b"com.nhn.android.band" => ("band", "band"),
        b"net.daum.android.daum" => ("daum", "daum"),
        b"com.snapchat.android" => ("snapchat", "snapchat"),
        b"com.pinterest" => ("pinterest", "pinterest"),
        b"com.linkedin.android" | b"com.linkedin.android.lite" => ("linkedin", "linkedin"),
        b"com.reddit.frontpage" => ("reddit", "reddit"),
        b"com.discord" => ("discord", "discord"),
        b"com.tencent.mm" => ("wechat", "wechat"),
        b"com.sina.weibo" => ("weibo", "weibo"),
        b"flipboard.app" => ("flipboard", "flipboard"),
        b"com.lazada.android" => ("lazada", "lazada"),
        b"com.viber.voip" => ("viber", "viber"),
        b"com.zing.zalo" => ("zalo", "zalo"),
        b"com.google.android.googlequicksearchbox" => ("google_app", "google"),
        // One package a country.
        _ if package.starts_with(b"com.shopee.") => ("shopee", "shopee"),
        _ => return None,
    };
    Some(KnownApp { name, source })
}

/// Whether the package is a browser, not an app that shows a page. Browsers that use a webview send their own package;
/// most have the word in it. jQuery sends `XMLHttpRequest`.
fn is_browser_package(package: &[u8]) -> bool {
    const STARTS: &[&[u8]] = &[
        b"com.android.chrome",
        b"com.chrome.",
        b"org.chromium.",
        b"org.mozilla.",
        b"com.UCMobile",
        b"com.uc.",
        b"com.duckduckgo.",
        b"com.opera.",
        b"com.vivaldi.",
        b"com.microsoft.emmx",
        b"com.ecosia.",
        b"com.cloudmosa.puffin",
        b"com.naver.whale",
        b"com.tencent.mtt",
        b"com.quark.",
        b"mark.via",
        b"XMLHttpRequest",
    ];
    let has_word = package.windows(b"browser".len()).any(|window| window.eq_ignore_ascii_case(b"browser"));
    has_word || STARTS.iter().any(|start| package.starts_with(start))
}

/// The platform of a `Referer`: by the longest known suffix of its host, or by the package of an `android-app:` one;
/// `web` for an unknown site. `None` if the `Referer` has no host.
fn find_source_of_referer_or_web(referer: &[u8]) -> Option<&'static str> {
    let SchemeAndHost { scheme, host } = find_scheme_and_host(referer)?;
    if host.is_empty() {
        return None;
    }
    if scheme == b"android-app" {
        return Some(find_app_of_package(host).map_or("web", |app| app.source));
    }
    // Browsers send hosts in lower case.
    let mut suffix = host;
    loop {
        if let Some(source) = find_source_of_site(suffix) {
            return Some(source);
        }
        match memchr::memchr(b'.', suffix) {
            Some(at) => suffix = &suffix[at + 1..],
            None => return Some("web"),
        }
    }
}

/// The platform of a site, if it is a known one.
fn find_source_of_site(site: &[u8]) -> Option<&'static str> {
    Some(match site {
        b"instagram.com" => "instagram",
        b"youtube.com" | b"youtu.be" | b"youtube-nocookie.com" => "youtube",
        b"threads.net" | b"threads.com" => "threads",
        b"tiktok.com" => "tiktok",
        b"facebook.com" | b"fb.com" | b"fb.me" => "facebook",
        b"messenger.com" | b"m.me" => "messenger",
        b"t.co" | b"twitter.com" | b"x.com" => "x",
        b"whatsapp.com" | b"wa.me" => "whatsapp",
        b"telegram.org" | b"t.me" => "telegram",
        b"line.me" => "line",
        b"zalo.me" => "zalo",
        b"viber.com" => "viber",
        b"douyin.com" => "douyin",
        b"kakao.com" => "kakaotalk",
        b"mail.google.com" | b"mail.yahoo.com" | b"mail.naver.com" | b"mail.daum.net" | b"mail.aol.com"
        | b"mail.ru" | b"mail.proton.me" | b"outlook.com" => "email",
        b"outlook.live.com" | b"outlook.office.com" | b"outlook.office365.com" => "email",
        b"blog.naver.com" | b"m.blog.naver.com" | b"blog.me" | b"tistory.com" | b"wordpress.com" | b"blogspot.com"
        | b"medium.com" | b"substack.com" | b"tumblr.com" | b"brunch.co.kr" | b"velog.io" | b"ghost.io" => "blog",
        b"linktr.ee" | b"litt.ly" | b"beacons.ai" | b"lnk.bio" | b"linkin.bio" | b"inpock.co.kr" | b"bio.link" => {
            "link_page"
        }
        b"snapchat.com" => "snapchat",
        b"pinterest.com" | b"pin.it" => "pinterest",
        b"linkedin.com" | b"lnkd.in" => "linkedin",
        b"reddit.com" | b"redd.it" => "reddit",
        b"discord.com" | b"discordapp.com" => "discord",
        b"slack.com" => "slack",
        b"weibo.com" | b"weibo.cn" => "weibo",
        b"bsky.app" => "bluesky",
        b"twitch.tv" => "twitch",
        b"band.us" => "band",
        b"naver.com" => "naver",
        b"daum.net" => "daum",
        b"bing.com" => "bing",
        b"duckduckgo.com" => "duckduckgo",
        b"yahoo.com" | b"yahoo.co.jp" => "yahoo",
        b"yandex.ru" | b"yandex.com" => "yandex",
        b"baidu.com" => "baidu",
        _ if site.starts_with(b"shopee.") => "shopee",
        _ if site.starts_with(b"lazada.") => "lazada",
        _ if site.starts_with(b"google.") => "google",
        _ if site.starts_with(b"pinterest.") => "pinterest",
        _ => return None,
    })
}

/// The platform that a `utm_source` names, in the spellings that creators and newsletter tools use.
fn find_source_of_utm_source(word: &[u8]) -> Option<&'static str> {
    const WORDS: &[(&[&str], &str)] = &[
        (&["instagram", "ig", "insta"], "instagram"),
        (&["youtube", "yt"], "youtube"),
        (&["threads"], "threads"),
        (&["tiktok", "tt"], "tiktok"),
        (&["facebook", "fb", "meta"], "facebook"),
        (&["messenger"], "messenger"),
        (&["twitter", "x"], "x"),
        (&["whatsapp", "wa"], "whatsapp"),
        (&["telegram", "tg"], "telegram"),
        (&["kakao", "kakaotalk"], "kakaotalk"),
        (&["line"], "line"),
        (&["naver"], "naver"),
        (&["zalo"], "zalo"),
        (&["viber"], "viber"),
        (&["douyin"], "douyin"),
        (&["shopee"], "shopee"),
        (&["lazada"], "lazada"),
        (&["email", "mail", "newsletter", "e-mail", "mailchimp", "klaviyo", "substack"], "email"),
        (&["pinterest"], "pinterest"),
        (&["snapchat", "snap"], "snapchat"),
        (&["linkedin"], "linkedin"),
        (&["reddit"], "reddit"),
        (&["discord"], "discord"),
        (&["google"], "google"),
        (&["bing"], "bing"),
        (&["blog"], "blog"),
    ];
    if word.is_empty() || word.len() > 12 {
        return None;
    }
    let named = |names: &[&str]| names.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(word));
    WORDS.iter().find(|(names, _)| named(names)).map(|(_, source)| *source)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::model::known_names::{APPS, SOURCES};

    /// The names in the tables of a file: what stands in quotes and is a name.
    fn quoted_names(file: &str) -> BTreeSet<String> {
        let text = std::fs::read_to_string(format!("{}/src/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let quoted = code.split('"').skip(1).step_by(2);
        let is_name = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        quoted.filter(is_name).map(str::to_owned).collect()
    }

    #[test]
    fn a_target_may_ask_for_each_app_and_each_source_of_the_tables_and_for_no_other() {
        let mut names = quoted_names("client/source.rs");
        names.extend(quoted_names("client/user_agent/app_tokens.rs"));
        names.extend(quoted_names("model/ad_parameter.rs"));
        for known in APPS.iter().chain(SOURCES) {
            assert!(names.contains(*known), "no table has {known:?}");
        }
        // Every name that a table has behind a token is an app's or a platform's.
        let tokens =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/client/user_agent/app_tokens.rs"));
        for row in tokens.unwrap().lines().filter_map(|line| line.trim().strip_prefix("app_row(\"")) {
            let words: Vec<&str> = row.split('"').collect();
            assert!(APPS.contains(&words[2]) && SOURCES.contains(&words[4]), "{row}");
        }
    }
}

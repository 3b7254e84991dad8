//! Where a click came from: tables of app packages, sites and `utm_source` words. No allocation, no state.

use super::agents::App;

/// The app of an Android package (`X-Requested-With`), if it is a known one.
pub(super) fn of_package(package: &[u8]) -> Option<App> {
    let (name, source) = match package {
        b"com.instagram.android" | b"com.instagram.lite" => ("instagram", "instagram"),
        b"com.instagram.barcelona" => ("threads", "threads"),
        b"com.facebook.katana" | b"com.facebook.lite" => ("facebook", "facebook"),
        b"com.facebook.orca" | b"com.facebook.mlite" => ("messenger", "messenger"),
        b"com.zhiliaoapp.musically" | b"com.zhiliaoapp.musically.go" | b"com.ss.android.ugc.trill" => {
            ("tiktok", "tiktok")
        }
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
        b"com.linkedin.android" => ("linkedin", "linkedin"),
        b"com.reddit.frontpage" => ("reddit", "reddit"),
        b"com.discord" => ("discord", "discord"),
        b"com.tencent.mm" => ("wechat", "wechat"),
        b"com.viber.voip" => ("viber", "viber"),
        b"com.zing.zalo" => ("zalo", "zalo"),
        b"com.google.android.googlequicksearchbox" => ("google_app", "google"),
        _ => return None,
    };
    Some(App { name, source })
}

/// Whether this package is a browser of its own rather than an app that shows a page; browsers with a webview send theirs.
pub(super) fn is_browser_package(package: &[u8]) -> bool {
    const BROWSERS: &[&[u8]] = &[
        b"com.android.browser",
        b"com.android.chrome",
        b"com.sec.android.app.sbrowser",
        b"com.UCMobile.intl",
        b"com.uc.browser.en",
        b"com.mi.globalbrowser",
        b"com.duckduckgo.mobile.android",
        b"com.brave.browser",
        b"com.opera.mini.native",
        b"com.vivo.browser",
        b"com.heytap.browser",
        b"com.huawei.browser",
        b"mark.via.gp",
        b"XMLHttpRequest",
    ];
    BROWSERS.contains(&package)
}

/// The host of a `Referer`, without port; empty if it has none.
fn host_of(url: &[u8]) -> (&[u8], &[u8]) {
    let Some(at) = memchr::memmem::find(url, b"://") else { return (b"", b"") };
    let rest = &url[at + 3..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#' | b':')).unwrap_or(rest.len());
    (&url[..at], &rest[..end])
}

/// The platform behind a `Referer`: the longest known suffix of its host, or the package of an `android-app:` one. `None`
/// if it has no host at all, `web` for an unknown site.
pub(super) fn of_referer(referer: &[u8]) -> Option<&'static str> {
    let (scheme, host) = host_of(referer);
    if host.is_empty() {
        return None;
    }
    if scheme == b"android-app" {
        return Some(of_package(host).map_or("web", |app| app.source));
    }
    // Referers are lower case from every browser; one that is not is a stranger's and stays `web`.
    let mut suffix = host;
    loop {
        if let Some(source) = of_site(suffix) {
            return Some(source);
        }
        match memchr::memchr(b'.', suffix) {
            Some(at) => suffix = &suffix[at + 1..],
            None => return Some("web"),
        }
    }
}

fn of_site(site: &[u8]) -> Option<&'static str> {
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
        b"kakao.com" => "kakaotalk",
        b"mail.google.com"
        | b"mail.yahoo.com"
        | b"mail.naver.com"
        | b"mail.daum.net"
        | b"outlook.com"
        | b"outlook.live.com"
        | b"outlook.office.com"
        | b"outlook.office365.com"
        | b"mail.aol.com"
        | b"mail.ru"
        | b"mail.proton.me" => "email",
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
        _ if site.starts_with(b"google.") => "google",
        _ if site.starts_with(b"pinterest.") => "pinterest",
        _ => return None,
    })
}

/// The platform that a `utm_source` names, in the spellings that creators and newsletter tools write.
pub(super) fn of_utm_source(word: &[u8]) -> Option<&'static str> {
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

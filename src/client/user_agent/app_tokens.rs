//! Apps with a browser of their own, by a token in its user agent.

use super::{
    agent_traits::KnownApp,
    token::{TokenMeaning, TokenRow},
};

const fn app_row(token: &'static str, name: &'static str, source: &'static str) -> TokenRow {
    (token, TokenMeaning::WebviewOf(KnownApp { name, source }))
}

/// Apps by a token in their webview's user agent. If two match, the first in this list counts.
pub(super) const APPS: &[TokenRow] = &[
    app_row("messengerforios", "messenger", "messenger"),
    app_row("messengerliteforios", "messenger", "messenger"),
    app_row("fb_iab/messenger", "messenger", "messenger"),
    app_row("orca-android", "messenger", "messenger"),
    app_row("barcelona ", "threads", "threads"),
    app_row("metaiab instagram", "instagram", "instagram"),
    app_row("metaiab facebook", "facebook", "facebook"),
    app_row("metaiab messenger", "messenger", "messenger"),
    app_row("metaiab threads", "threads", "threads"),
    app_row("instagram", "instagram", "instagram"),
    app_row("fban/", "facebook", "facebook"),
    app_row("fbav/", "facebook", "facebook"),
    app_row("fb_iab", "facebook", "facebook"),
    // Douyin is TikTok's sister, with the same webview.
    app_row(" aweme", "douyin", "douyin"),
    app_row("appname/aweme", "douyin", "douyin"),
    app_row("musical_ly", "tiktok", "tiktok"),
    app_row("bytedancewebview", "tiktok", "tiktok"),
    app_row("bytelocale", "tiktok", "tiktok"),
    app_row("tiktok", "tiktok", "tiktok"),
    app_row("trill_", "tiktok", "tiktok"),
    app_row("twitter for", "x", "x"),
    app_row("twitterandroid", "x", "x"),
    app_row("kakaotalk", "kakaotalk", "kakaotalk"),
    app_row("kakaostory", "kakaostory", "kakaostory"),
    app_row(" line/", "line", "line"),
    app_row("naver(inapp", "naver", "naver"),
    app_row("daumapps", "daum", "daum"),
    app_row("band/", "band", "band"),
    app_row("snapchat", "snapchat", "snapchat"),
    app_row("pinterest", "pinterest", "pinterest"),
    app_row(" linkedin/", "linkedin", "linkedin"),
    app_row("linkedinapp", "linkedin", "linkedin"),
    app_row("micromessenger", "wechat", "wechat"),
    app_row("weibo", "weibo", "weibo"),
    app_row("telegram-android", "telegram", "telegram"),
    app_row(" zalo android", "zalo", "zalo"),
    app_row(" zalo ios", "zalo", "zalo"),
    app_row(" zalo/", "zalo", "zalo"),
    app_row(" zalopc", "zalo", "zalo"),
    app_row(" viber/", "viber", "viber"),
    app_row("shopee", "shopee", "shopee"),
    app_row("beeshop", "shopee", "shopee"),
    app_row("aliapp(la/", "lazada", "lazada"),
    app_row("lazada", "lazada", "lazada"),
    app_row("[wa4a/", "whatsapp", "whatsapp"),
    app_row("[waios/", "whatsapp", "whatsapp"),
    app_row("whatsapp", "whatsapp", "whatsapp"),
    app_row("discord/", "discord", "discord"),
    app_row("reddit/", "reddit", "reddit"),
    app_row("youtube/", "youtube", "youtube"),
    app_row("flipboard", "flipboard", "flipboard"),
    app_row(" gsa/", "google_app", "google"),
    ("; wv)", TokenMeaning::Webview),
];

//! The HTML of the landing pages. A page loads nothing, and runs one static script that its policy allows by its hash.
//! The script reads the URLs from the page's links, which work without it.

use std::sync::LazyLock;

use http::HeaderValue;

use crate::edge::{
    landing::{exit::Exit, kind::LandingPage, texts::Texts},
    pages::{Page, STYLE, build_content_security_policy, escape_html},
};

/// How long the page of an app's destination waits for the app, milliseconds, before it goes to the web.
const APP_WAIT_MS: u32 = 1200;

/// Opens the URL of the first link at once, or once somebody sees the page; with `data-wait`, goes to that of the
/// second one if the page is still seen after so many milliseconds. Tries only once, so that a buyer who comes back is
/// not sent away again.
const SCRIPT: &str = "(function(){\
                      var open=document.getElementById('open'),web=document.getElementById('web'),\
                      wait=Number(open.dataset.wait),timer;\
                      function stop(){clearTimeout(timer)}\
                      function start(){\
                      if(document.hidden)return;\
                      document.removeEventListener('visibilitychange',start);\
                      if(history.state==='tried')return;\
                      history.replaceState('tried','');\
                      if(wait){timer=setTimeout(function(){location.replace(web.href)},wait);\
                      document.addEventListener('visibilitychange',stop);addEventListener('pagehide',stop)}\
                      location.href=open.href}\
                      document.addEventListener('visibilitychange',start);start()})()";

static CONTENT_SECURITY_POLICY: LazyLock<HeaderValue> =
    LazyLock::new(|| build_content_security_policy(STYLE, Some(SCRIPT)));

/// The URLs that a page leads to, in their normal form.
#[derive(Clone, Copy)]
pub(in crate::edge) struct LandingUrls<'a> {
    /// The destination.
    pub(in crate::edge) destination: &'a [u8],
    /// Where the page of an app's destination goes without the app.
    pub(in crate::edge) way_on: &'a [u8],
}

/// A link of a page.
struct PageLink<'a> {
    url: &'a [u8],
    text: &'static str,
}

impl LandingPage {
    /// The page in the language that `Accept-Language` prefers among those of the texts. `referrer_policy` is that of
    /// the domain's redirects.
    pub(in crate::edge) fn to_html(self, urls: LandingUrls<'_>, accept_language: &[u8], referrer_policy: &str) -> Page {
        let texts = Texts::of_preferred_language(accept_language);
        let LandingUrls { destination, way_on } = urls;
        let ([title, text], open, web) = match self {
            LandingPage::TryApp => {
                let open = PageLink { url: destination, text: texts.open_app };
                (texts.opening_app, build_link("open", &open, Some(APP_WAIT_MS)), (way_on, texts.continue_on_web))
            }
            LandingPage::OpenOutside(exit) => {
                let open = open_link_of_exit(exit, destination, texts);
                let title_and_text = if open.is_empty() { texts.open_by_hand } else { texts.opening_browser };
                (title_and_text, open, (destination, texts.continue_here))
            }
        };
        let web = build_link("web", &PageLink { url: web.0, text: web.1 }, None);
        let script = if open.is_empty() { String::new() } else { format!("<script>{SCRIPT}</script>") };
        let Texts { tag, direction, .. } = texts;
        let html = format!(
            "<!doctype html><html lang=\"{tag}\" dir=\"{direction}\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta name=\"robots\" content=\"noindex\"><meta name=\"referrer\" content=\"{}\">\
             <title>{title}</title><style>{STYLE}</style></head>\
             <body><main><h1>{title}</h1><p>{text}</p>{open}{web}</main>{script}</body></html>",
            escape_html(referrer_policy)
        );
        Page::html_with_policy(html, &CONTENT_SECURITY_POLICY)
    }
}

/// The link that leaves the app's own browser; empty if it has to be left by hand.
fn open_link_of_exit(exit: Exit, destination: &[u8], texts: &Texts) -> String {
    let url = exit.url_of(destination);
    url.map_or(String::new(), |url| build_link("open", &PageLink { url: &url, text: texts.open_browser }, None))
}

fn build_link(id: &str, link: &PageLink<'_>, wait_ms: Option<u32>) -> String {
    let url = escape_html(&String::from_utf8_lossy(link.url));
    let wait = wait_ms.map_or(String::new(), |wait_ms| format!(" data-wait=\"{wait_ms}\""));
    format!("<a id=\"{id}\"{wait} href=\"{url}\">{}</a>", link.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(page: LandingPage, language: &str) -> String {
        let destination = b"https://shop.example.com/a?b=\"><script>c</script>&wp=v1.T";
        let urls = LandingUrls { destination, way_on: b"https://shop.example.com/way-on" };
        let page = page.to_html(urls, language.as_bytes(), "no-referrer");
        String::from_utf8(page.body.to_vec()).unwrap()
    }

    #[test]
    fn no_url_leaves_its_attribute_and_every_page_has_a_way_on() {
        for exit in [Exit::Intent, Exit::SafariScheme, Exit::InstagramScheme, Exit::KakaoTalkScheme, Exit::Instructions]
        {
            let html = html(LandingPage::OpenOutside(exit), "en");
            let escaped =
                "href=\"https://shop.example.com/a?b=&quot;>&lt;script>c&lt;/script>&amp;wp=v1.T\">Continue here";
            assert!(html.contains(escaped), "{html}");
            assert_eq!(html.matches("<script>").count(), usize::from(exit != Exit::Instructions), "{html}");
            assert_eq!(html.contains("id=\"open\""), exit != Exit::Instructions);
        }
        let html = html(LandingPage::TryApp, "ar");
        assert!(html.contains("<html lang=\"ar\" dir=\"rtl\">") && html.contains("data-wait=\"1200\""), "{html}");
        assert!(html.contains("href=\"https://shop.example.com/way-on\""), "{html}");
    }
}

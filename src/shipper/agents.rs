//! What a `User-Agent` says about itself: crawler, preview, monitor, tool, or the app whose webview it is.
//!
//! One Aho-Corasick automaton over every token, built once; one pass over an agent finds all of them. An agent that names
//! several things is what it names first in this order: probe, preview, bot, tool. An in-app browser (`FBAN/FBAV`,
//! `Instagram 300…` behind `Mozilla/5.0`) is a person; `facebookexternalhit`, or `WhatsApp/2…` alone, is a preview.
//!
//! The tokens are those with which the services describe themselves in public; the corpus in
//! `tests/fixtures/agents.jsonl` says what becomes of recorded agents.

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError, MatchKind};

/// What an agent is, weakest first: of several tokens the strongest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// An HTTP library or the network stack of an app: a program, unless an app resolves a link with it.
    Tool,
    /// A crawler, a scanner, a script, a browser without a person.
    Bot,
    /// Fetches a page to draw a card of it in a chat or a feed.
    Preview,
    /// A monitor or a load balancer's health check.
    Probe,
}

/// An app whose own browser shows pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct App {
    /// Its name in `in_app_name`.
    pub(super) name: &'static str,
    /// The platform it brings clicks from.
    pub(super) source: &'static str,
}

/// What was read in one agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Agent {
    /// The strongest token, and the reason to give: `agent:` and the token.
    pub(super) kind: Option<(Kind, &'static str)>,
    /// The app whose webview this is.
    pub(super) app: Option<App>,
    /// Says that it is a webview, of whichever app.
    pub(super) webview: bool,
}

/// What a token means where it is found.
#[derive(Clone, Copy)]
enum Mark {
    /// An agent of this kind, wherever the token stands.
    Is(Kind, &'static str),
    /// The same, only if the agent starts with it: the rest of these names also stand in people's browsers.
    Leads(Kind, &'static str),
    /// The same, only as the end of a word (`Googlebot/2.1`, not `robots` and not the phone maker Cubot).
    Ends(Kind, &'static str),
    /// The webview of this app.
    In(App),
    /// Some webview.
    Webview,
}

macro_rules! tokens {
    ($mark:ident $kind:ident: $($token:literal)*) => {
        &[$(($token, Mark::$mark(Kind::$kind, concat!("agent:", $token)))),*]
    };
}

type Row = (&'static str, Mark);

const PROBES: &[Row] = tokens!(Is Probe:
    "uptimerobot" "pingdom" "statuscake" "kube-probe" "googlehc" "elb-healthchecker" "amazon-route53-health-check-service"
    "site24x7" "datadogsynthetics" "datadog agent" "newrelicpinger" "newrelicsynthetics" "better uptime" "betterstack"
    "uptime-kuma" "blackbox exporter" "blackbox_exporter" "prometheus/" "zabbix" "check_http" "hetrixtools" "freshping"
    "consul health check" "envoy/hc" "updown.io" "checkly" "icinga" "catchpoint" "dynatracesynthetic" "ruxitsynthetic"
    "cloudflare-healthchecks" "cloudflare-traffic-manager" "azure traffic manager endpoint monitor" "montastic"
    "nodeping" "oh dear" "ohdear.app" "gatus/" "cron-job.org" "haproxy" "traefik" "stackdriver-uptimechecks"
    "googlestackdrivermonitoring" "cloudwatchsynthetics" "semonto" "uptimia" "jetmon" "alibabacloud-slb");

const PREVIEWS: &[Row] = tokens!(Is Preview:
    "facebookexternalhit" "facebookcatalog" "facebot" "meta-externalfetcher" "slackbot" "slack-imgproxy" "twitterbot" "telegrambot"
    "discordbot" "linkedinbot" "applebot" "redditbot" "pinterestbot" "pinterest/0." "skypeuripreview" "teams-preview"
    "microsoftpreview" "bingpreview" "google web preview" "google-pagerenderer" "google-read-aloud" "googleimageproxy"
    "yahoomailproxy" "kakaotalk-scrap" "line-poker" "snap url preview" "vkshare" "embedly" "iframely" "bitlybot"
    "mastodon/" "misskey" "pleroma" "akkoma" "bluesky cardyb" "cardyb" "quora link preview"
    "quora-bot" "link preview" "linkpreview" "unfurl" "opengraph" "rocket.chat" "mattermost" "whatsapp-preview" "zalopc"
    "google-chat" "duckduckgo-favicons" "flipboardproxy" "google-favicon" "notionbot" "notion link preview" "xing-contenttabreceiver"
    "outbrain" "taboolabot" "ms-office" "microsoft office" "qq-urlpreview");

const PREVIEWS_LEADING: &[Row] = tokens!(Leads Preview: "whatsapp/" "tumblr/" "viber/" "outlook-ios" );

const BOTS: &[Row] = tokens!(Is Bot:
    "googlebot" "google-inspectiontool" "googleother" "google-safety" "apis-google" "adsbot" "mediapartners-google"
    "feedfetcher-google" "google-ads-creatives" "google-extended" "storebot-google" "google-cloudvertexbot" "bingbot"
    "adidxbot" "msnbot" "yandex.com/bots" "yandexbot" "baiduspider" "duckduckbot" "petalbot" "yeti/" "daumoa" "daum/"
    "naverbot" "coccocbot" "seznambot" "qwantify" "exabot" "ia_archiver" "archive.org_bot" "gptbot" "chatgpt-user"
    "oai-searchbot" "claudebot" "claude-user" "claude-web" "anthropic-ai" "perplexitybot" "perplexity-user" "ccbot"
    "amazonbot" "bytespider" "tiktokspider" "diffbot" "cohere-ai" "youbot" "mistralai-user" "duckassistbot"
    "meta-externalagent" "meta-webindexer" "ahrefsbot" "ahrefssiteaudit" "semrushbot" "mj12bot" "dotbot" "dataforseobot"
    "blexbot" "rogerbot" "seokicks" "serpstatbot" "screaming frog" "sitebulb" "barkrowler" "zoominfobot" "megaindex"
    "headlesschrome" "phantomjs" "slimerjs" "puppeteer" "playwright" "selenium" "webdriver" "cypress/" "chrome-lighthouse"
    "ptst/" "gtmetrix" "google page speed" "crawler" "crawling" "spider" "scraper" "scrapy" "heritrix" "nutch" "httrack"
    "censysinspect" "zgrab" "nmap" "masscan" "nessus" "sqlmap" "nikto" "nuclei" "wpscan" "shodan" "internet-measurement"
    "leakix" "netcraft" "qualys" "acunetix" "barracuda" "proofpoint" "mimecast" "trendmicro" "symantec" "forcepoint"
    "urlscan" "virustotal" "safebrowsing" "phishtank" "cloudflare-radar" "cloudflare-ssldetector" "dareboost" "w3c_validator"
    "w3c-checklink" "linkchecker" "link checker" "brokenlink" "feedburner" "feedly" "feedbin" "newsblur" "inoreader" 
    "apachebench" "vegeta" "jmeter" "gatling" "+http" "; http" "(http");

const BOTS_ENDING: &[Row] = tokens!(Ends Bot: "bot" "robot" "crawl" "checker" "scanner" "fetcher" "monitor");

const SCRIPTS: &[Row] = tokens!(Is Bot:
    "curl/" "wget" "python-requests" "python-urllib" "python-httpx" "python/" "aiohttp" "go-http-client" "libwww-perl"
    "lwp::" "faraday" "guzzle" "php/" "httpie" "postmanruntime" "insomnia/" "axios" "node-fetch" "undici" "got (" "superagent"
    "apache-httpclient" "java-http-client" "java/" "jakarta" "restsharp" "winhttp" "powershell" "libcurl" "lua-resty" "mechanize");

const SCRIPTS_LEADING: &[Row] = tokens!(Leads Bot:
    "k6/" "wrk/" "siege" "burp" "expanse" "ruby" "node" "deno/" "bun/" "hyper/" "reqwest" "rust" "perl" "httpclient" "java" "got/" "ureq");

const TOOLS: &[Row] =
    tokens!(Is Tool: "okhttp" "cfnetwork" "alamofire" "dart/" "dart:io" "ktor" "cronet" "nsurlsession" "volley/");

const TOOLS_LEADING: &[Row] = tokens!(Leads Tool: "dalvik/");

const fn app(token: &'static str, name: &'static str, source: &'static str) -> Row {
    (token, Mark::In(App { name, source }))
}

/// Apps by the token in their webview's agent; where two fit, the one listed first is meant.
const APPS: &[Row] = &[
    app("messengerforios", "messenger", "messenger"),
    app("messengerliteforios", "messenger", "messenger"),
    app("fb_iab/messenger", "messenger", "messenger"),
    app("orca-android", "messenger", "messenger"),
    app("barcelona ", "threads", "threads"),
    app("instagram", "instagram", "instagram"),
    app("fban/", "facebook", "facebook"),
    app("fbav/", "facebook", "facebook"),
    app("fb_iab", "facebook", "facebook"),
    app("musical_ly", "tiktok", "tiktok"),
    app("bytedancewebview", "tiktok", "tiktok"),
    app("bytelocale", "tiktok", "tiktok"),
    app("tiktok", "tiktok", "tiktok"),
    app("trill_", "tiktok", "tiktok"),
    app("twitter for", "x", "x"),
    app("twitterandroid", "x", "x"),
    app("kakaotalk", "kakaotalk", "kakaotalk"),
    app("kakaostory", "kakaostory", "kakaostory"),
    app(" line/", "line", "line"),
    app("naver(inapp", "naver", "naver"),
    app("daumapps", "daum", "daum"),
    app("band/", "band", "band"),
    app("snapchat", "snapchat", "snapchat"),
    app("pinterest", "pinterest", "pinterest"),
    app("linkedinapp", "linkedin", "linkedin"),
    app("micromessenger", "wechat", "wechat"),
    app("weibo", "weibo", "weibo"),
    app("telegram-android", "telegram", "telegram"),
    app("whatsapp", "whatsapp", "whatsapp"),
    app("discord/", "discord", "discord"),
    app("reddit/", "reddit", "reddit"),
    app("youtube/", "youtube", "youtube"),
    app("flipboard", "flipboard", "flipboard"),
    app(" gsa/", "google_app", "google"),
    ("; wv)", Mark::Webview),
];

const TABLES: &[&[Row]] =
    &[PROBES, PREVIEWS, PREVIEWS_LEADING, BOTS, BOTS_ENDING, SCRIPTS, SCRIPTS_LEADING, TOOLS, TOOLS_LEADING, APPS];

/// The automaton over every token.
pub(super) struct Agents {
    tokens: AhoCorasick,
    marks: Vec<Mark>,
}

impl Agents {
    /// Builds the automaton; fails only if the tokens are too many for it, which a test would show.
    pub(super) fn new() -> Result<Agents, BuildError> {
        let rows = || TABLES.iter().flat_map(|table| table.iter());
        let tokens = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(rows().map(|(token, _)| token))?;
        Ok(Agents { tokens, marks: rows().map(|(_, mark)| *mark).collect() })
    }

    /// Reads one agent, in one pass.
    pub(super) fn read(&self, agent: &[u8]) -> Agent {
        let mut read = Agent::default();
        let mut app: Option<usize> = None;
        for found in self.tokens.find_overlapping_iter(agent) {
            let row = found.pattern().as_usize();
            let kind = match self.marks[row] {
                Mark::Is(kind, reason) => Some((kind, reason)),
                Mark::Leads(kind, reason) => (found.start() == 0).then_some((kind, reason)),
                Mark::Ends(kind, reason) => ends_word(agent, found.start(), found.end()).then_some((kind, reason)),
                Mark::In(_) => {
                    app = Some(app.map_or(row, |first| first.min(row)));
                    None
                }
                Mark::Webview => {
                    read.webview = true;
                    None
                }
            };
            // Of equals the first found stays: the name that an agent gives itself comes before the words around it.
            if let Some((kind, reason)) = kind
                && read.kind.is_none_or(|(strongest, _)| kind > strongest)
            {
                read.kind = Some((kind, reason));
            }
        }
        if let Some(Mark::In(app)) = app.map(|row| self.marks[row]) {
            read.app = Some(app);
        }
        read
    }
}

fn ends_word(agent: &[u8], start: usize, end: usize) -> bool {
    let letter_follows = agent.get(end).is_some_and(u8::is_ascii_alphabetic);
    let cubot = start >= 2 && agent[start - 2..start].eq_ignore_ascii_case(b"cu");
    !letter_follows && !cubot
}

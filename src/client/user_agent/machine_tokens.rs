//! The names of machines, as their operators publish them: monitors, previews of chats and feeds, crawlers, scanners,
//! scripts, tools that drive a browser. `forms` recognises most machines without a name; a name here tells the kind, or
//! finds a tool that looks like a whole browser.

use super::{
    agent_traits::AgentKind,
    token::{TokenMeaning, TokenPlace, TokenRow},
};

macro_rules! machines {
    ($place:ident $kind:ident: $($token:literal)*) => {
        &[$(($token, TokenMeaning::Machine(TokenPlace::$place, AgentKind::$kind, concat!("agent:", $token)))),*]
    };
}

const PROBES: &[TokenRow] = machines!(Anywhere Probe:
    "uptimerobot" "pingdom" "statuscake" "kube-probe" "googlehc" "elb-healthchecker"
    "amazon-route53-health-check-service" "site24x7" "datadogsynthetics" "datadog agent" "newrelicpinger"
    "newrelicsynthetics" "better uptime" "betterstack" "uptime-kuma" "blackbox exporter" "blackbox_exporter"
    "prometheus/" "zabbix" "check_http" "hetrixtools" "freshping" "consul health check" "envoy/hc" "updown.io"
    "checkly" "icinga" "catchpoint" "dynatracesynthetic" "ruxitsynthetic" "cloudflare-healthchecks"
    "cloudflare-traffic-manager" "azure traffic manager endpoint monitor" "montastic" "nodeping" "oh dear"
    "ohdear.app" "gatus/" "cron-job.org" "haproxy" "traefik" "stackdriver-uptimechecks" "googlestackdrivermonitoring"
    "cloudwatchsynthetics" "semonto" "uptimia" "jetmon" "alibabacloud-slb");

const PREVIEWS: &[TokenRow] = machines!(Anywhere Preview:
    "facebookexternalhit" "facebookcatalog" "facebot" "meta-externalfetcher" "slackbot" "slack-imgproxy" "twitterbot"
    "telegrambot" "discordbot" "linkedinbot" "applebot" "redditbot" "pinterestbot" "pinterest/0." "skypeuripreview"
    "teams-preview" "microsoftpreview" "bingpreview" "google web preview" "google-pagerenderer" "google-read-aloud"
    "googleimageproxy" "yahoomailproxy" "kakaotalk-scrap" "line-poker" "snap url preview" "vkshare" "embedly"
    "iframely" "bitlybot" "mastodon/" "misskey" "pleroma" "akkoma" "bluesky cardyb" "cardyb" "quora link preview"
    "quora-bot" "link preview" "linkpreview" "unfurl" "opengraph" "rocket.chat" "mattermost" "whatsapp-preview"
    "google-chat" "duckduckgo-favicons" "flipboardproxy" "google-favicon" "notionbot" "notion link preview"
    "xing-contenttabreceiver" "synapse (" "chatwork" "metainspector" "googlemessages/" "outbrain" "taboolabot"
    "ms-office" "microsoft office" "qq-urlpreview");

const PREVIEWS_LEADING: &[TokenRow] = machines!(Start Preview: "whatsapp/" "tumblr/" "viber/" "outlook-ios");

const BOTS: &[TokenRow] = machines!(Anywhere Bot:
    "googlebot" "google-inspectiontool" "googleother" "google-safety" "apis-google" "adsbot" "mediapartners-google"
    "feedfetcher-google" "google-ads-creatives" "google-extended" "storebot-google" "google-cloudvertexbot" "bingbot"
    "adidxbot" "msnbot" "yandex.com/bots" "yandexbot" "baiduspider" "duckduckbot" "petalbot" "yeti/" "daumoa" "daum/"
    "naverbot" "coccocbot" "seznambot" "qwantify" "exabot" "ia_archiver" "archive.org_bot" "gptbot" "chatgpt-user"
    "oai-searchbot" "claudebot" "claude-user" "claude-web" "anthropic-ai" "perplexitybot" "perplexity-user" "ccbot"
    "amazonbot" "bytespider" "tiktokspider" "diffbot" "cohere-ai" "youbot" "mistralai-user" "duckassistbot"
    "meta-externalagent" "meta-webindexer" "ahrefsbot" "ahrefssiteaudit" "semrushbot" "mj12bot" "dotbot"
    "dataforseobot" "blexbot" "rogerbot" "seokicks" "serpstatbot" "screaming frog" "sitebulb" "barkrowler"
    "zoominfobot" "megaindex" "headlesschrome" "phantomjs" "slimerjs" "puppeteer" "playwright" "selenium" "webdriver"
    "cypress/" "chrome-lighthouse" "ptst/" "gtmetrix" "google page speed" "crawler" "crawling" "spider" "scraper"
    "scrapy" "heritrix" "nutch" "httrack" "censysinspect" "zgrab" "nmap" "masscan" "nessus" "sqlmap" "nikto" "nuclei"
    "wpscan" "shodan" "internet-measurement" "leakix" "netcraft" "qualys" "acunetix" "barracuda" "proofpoint"
    "mimecast" "trendmicro" "symantec" "forcepoint" "urlscan" "virustotal" "safebrowsing" "phishtank"
    "cloudflare-radar" "cloudflare-ssldetector" "dareboost" "w3c_validator" "w3c-checklink" "linkchecker"
    "link checker" "brokenlink" "feedburner" "feedly" "feedbin" "newsblur" "inoreader" "apachebench" "vegeta" "jmeter"
    "gatling");

const BOTS_ENDING: &[TokenRow] = machines!(WordEnd Bot: "bot" "bots" "robot" "robots");

const SCRIPTS: &[TokenRow] = machines!(Anywhere Bot:
    "curl/" "wget" "python-requests" "python-urllib" "python-httpx" "python/" "aiohttp" "go-http-client" "libwww-perl"
    "lwp::" "faraday" "guzzle" "httpie" "postmanruntime" "insomnia/" "axios" "node-fetch" "undici" "got ("
    "superagent" "apache-httpclient" "java-http-client" "jakarta" "restsharp" "winhttp" "powershell" "libcurl"
    "lua-resty" "mechanize");

const SCRIPTS_BY_WORD: &[TokenRow] = machines!(Word Bot: "php/" "java/1" "perl/" "ruby/" "zend" "pycurl" "urllib");

const SCRIPTS_LEADING: &[TokenRow] = machines!(Start Bot:
    "k6/" "wrk/" "siege" "burp" "expanse" "ruby" "node" "deno/" "bun/" "hyper/" "reqwest" "rust" "perl" "httpclient"
    "java" "got/" "ureq");

const TOOLS: &[TokenRow] = machines!(Anywhere Tool:
    "okhttp" "cfnetwork" "alamofire" "dart/" "dart:io" "ktor" "cronet" "nsurlsession" "volley/");

const TOOLS_LEADING: &[TokenRow] = machines!(Start Tool: "dalvik/");

/// Tools that drive a whole browser and append their name, and proxies that look at pages with one.
const BROWSER_DRIVERS: &[TokenRow] = machines!(OutsideDevice Bot:
    "ghost inspector" "nodemeter" "debugbear" "kimonolabs" "dmbrowser" "linktiger" "neustar wpm" "criteo" "websnapr"
    "hubspot" "webscreenie" "appinsights" "openvas" "iplabel" "duplexweb" "taginspector" "patchwatch" "collapsify"
    "sindup" "; rigor" "google_partner_monitoring" "google wireless" "baidu transcoder" "siteimprove" "ptst "
    "web services client" " ylt chrome" " hotjar" "convertify" "readable/" "time/1" "nitro-" "dejaclick" "wappalyzer"
    "speedcurve" "pageburst" "silverton" "functionize" "infrawatch" "datanyze" "onetrust" "whatcms" "webkit2png"
    "wkhtmlto" "cutycapt" "casperjs" "htmlunit" "zombie.js" "jsdom" "nightmare" "testcafe" "browserstack" "saucelabs"
    "lambdatest" "rendertron" "splash/" "thousandeyes" "uptrends" "monitis" "ktxn" "khte" "gomezagent" "alertsite"
    "smartbear" "yottaa" "brightedge" "botify" "oncrawl" "monsido" "silktide" "cookiebot" "cookiepro" "trustarc"
    "observepoint" "foregenix" "detectify" "tenable" "netsparker" "invicti" "veracode" "rapid7" "appscan" "probely"
    "sucuri" "drtr" "zscaler" "paloalto" "doubleverify" "integralads" "ias_crawler" "admantx" "peer39" "grapeshot"
    "proximic" "gumgum" "comscore" "confiant" "geoedge" "mediatrust" "adbeat" "wayback" "newspaper/" "zotero"
    "pagepeeker" "screenshot" "webshot" "mshots" "snapsearch" "browsershots" "url2png" "pdfcrowd" "headless"
    "httpunit" "browser-use" "devin/" "skyvern" "firecrawl" "teoma" "scooter" "heimdall" "wac-ofu" "clarsentia"
    "site_analyzer" "sparkler" "bubing" "zaproxy" "owasp" "binglocalsearch" "spengine" "sitespeed" "stumbleupon"
    "powermarks" "webglance" "virtuoso" "blackboard safeassign" "turnitin" "copyscape" "grammarly" "sogou web"
    "pwabuilder" "burpcollaborator" "wechatdevtools" "-user/" "hardenize" "assetnote" "google favicon" "siege/"
    " splash version" "karno" "wpif" "turingos" "dlc/" "hlb/");

/// Every table of this file.
pub(super) const TABLES: &[&[TokenRow]] = &[
    PROBES,
    PREVIEWS,
    PREVIEWS_LEADING,
    BOTS,
    BOTS_ENDING,
    SCRIPTS,
    SCRIPTS_BY_WORD,
    SCRIPTS_LEADING,
    BROWSER_DRIVERS,
    TOOLS,
    TOOLS_LEADING,
];

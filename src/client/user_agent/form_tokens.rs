//! Tokens that are signs of a user agent's form: platforms, engines, words of a trade. `forms` judges by them.

use super::token::{Sign, TokenMeaning, TokenPlace, TokenRow};

macro_rules! signs {
    ($sign:ident $place:ident: $($token:literal)*) => {
        &[$(($token, TokenMeaning::Sign(TokenPlace::$place, Sign::$sign))),*]
    };
}

const PLATFORMS: &[TokenRow] = signs!(Platform Anywhere:
    "windows" "win98" "win95" "win32" "winnt" "win 9x" "macintosh" "mac os" "mac_p" "x11" "linux" "cros" "kaios"
    "symbian" "nokia" "samsung" "lg-" "lg " "lge" "sonyericsson" "blackberry" "bb10" "rim tablet" "palm" "hpwos"
    "nintendo" "playstation" "(ps3" "(ps4" "(ps5" "(psp" "ps vita" "xbox" "bsd" "sunos" "haiku" "beos" "amiga" "os/2"
    "netcast" "viera" "maemo" "meego" "midp" "cldc" "bada" "brew" "roku" "risc os" "syllable" "kindle" "silk" "msie"
    "trident" "vodafone" "unix" "aix" "hp-ux" "irix" "openvms" "darwin" "mips" "armv7" "aarch64" "opera m" "inferno"
    "willcom" "docomo" "sanyo" "netfront" "webtv" "dreamcast" "sega" "konqueror" "cygwin" "series40" "series60"
    "series 60");

const HANDHELDS_AND_TVS: &[TokenRow] = signs!(HandheldOrTv Anywhere:
    "adr " "iphone" "ipad" "ipod" "mobile" "tizen" "web0s" "webos" "smarttv" "smart-tv" "smart tv" "hbbtv"
    "tablet" "harmony" "apple tv" "fuchsia" "playbook" "phone");

const DEVICE_PARTS: &[TokenRow] = &[("android", TokenMeaning::PhoneSystem), ("[fb", TokenMeaning::FacebookBlock)];

const TV_WORDS: &[TokenRow] = signs!(HandheldOrTv Word: "tv" "watch");

const OLD_BROWSERS: &[TokenRow] = signs!(OldBrowser Anywhere:
    "midp" "cldc" "up.browser" "wap browser" "wap-browser" "maui" "netfront" "obigo" "teleca" "hbbtv" "nettv/"
    "ce-html" "kreatv" "opera mini" "opera mobi" "ucbrowser" "mmp/" "nintendo" "browser/" "mobile; rv:" "like gecko;"
    "symbianos");

const OLD_BROWSERS_LEADING: &[TokenRow] = signs!(OldBrowser Start:
    "docomo/" "kddi-" "j-phone/" "softbank/" "vodafone/" "portalmmm/" "pdxgw/" "iphone" "ipod" "ipad" "sonyericsson"
    "nokia" "samsung-" "sec-" "sch-" "sgh-" "lg-" "lge-" "mot-" "motorola" "blackberry" "sie-" "siemens" "sagem"
    "alcatel" "sharp" "zte" "huawei" "panasonic" "philips" "sanyo" "haier" "amoi" "lenovo" "htc" "palm" "pantech"
    "micromax" "karbonn" "lava" "gionee" "playstation" "psp (" "sleipnir/" "amaya/" "lynx/" "w3m/" "links (" "elinks"
    "dillo/" "netsurf/" "ncsa_mosaic" "ibrowse/" "icab" "omniweb" "roku" "tivo" "xbox" "sonybdp" "bravia" "viera"
    "amiga" "voyager" "appletv" "apple tv" "netcast" "vidaa" "fly" "spice" "siemens" "vodafone-" "o2-" "t-mobile"
    "inq" "vertu");

const DEVICES_WITHOUT_ENGINE: &[TokenRow] = signs!(DeviceWithoutEngine Anywhere:
    "trident" "nintendo" "psp" "playstation" "opera" "midp" "palm" "win98" "win95" "java/" "symbian" "blackberry"
    "amiga" "u;");

const EXPLORER: &[TokenRow] = signs!(Explorer Anywhere: "msie");

const DESKTOPS: &[TokenRow] = signs!(Desktop Anywhere: "windows nt" "macintosh" "x11");

const COMPATIBLE: &[TokenRow] = signs!(CompatibleName BeforeMachineName: "compatible;");

const GOOGLE_SERVICES: &[TokenRow] = signs!(GoogleService BeforeCapital: "google-");

const GOOGLE_SERVICES_ENDING: &[TokenRow] = signs!(GoogleService WordEnd: "-google");

const ENGINE_REMARKS: &[TokenRow] = signs!(EngineRemark Anywhere: "khtml, like gecko;" "khtml, like gecko,");

const BROWSER_REMARKS: &[TokenRow] = signs!(BrowserRemark Anywhere:
    "playstation" "like gecko, hevc" "like gecko, safari");

const TRADE_WORDS: &[TokenRow] = signs!(TradeWord OutsideToolbars:
    "uptime" "crawl" "spider" "check" "fetch" "archiv" "indexing" "render" "inspect" "translat" "server" "scan"
    "research" "observ" "analy" "feed" "proxy" "monitor" "thumb" "grader" "market" "prospect" "collect" "capture"
    "synthetic" "insight" "survey" "probe" "site" "rss" "preview" "detect" "optimiz" "diagnos" "miner" "extract"
    "harvest" "validat" "verif" "audit" "seo" "grab" "benchmark" "simulat" "automat" "snapshot" "tester" "testing"
    "webtest" "http-client" "httpclient" "library" "scrap" "retriev" "classif" "measure" "advisor" "download" "copier"
    "bot/" "request" "security" "headers" "agent");

const TRADE_WORDS_OF_NO_TOOLBAR: &[TokenRow] = signs!(TradeWord OutsideDevice:
    "crawl" "spider" "monitor" "synthetic" "validator" "scraper" "backlink" "httpstatus");

const RARE_TRADE_WORDS: &[TokenRow] = signs!(RareTradeWord BehindPlatform:
    "crawl" "spider" "synthetic" "optimizer" "monitor" "prerender" "page speed" "-agent" "-scan" "analyzer"
    "validator" "fetcher" "scraper" "observatory");

const PLATFORMS_WITHOUT_SCREEN: &[TokenRow] = signs!(PlatformWithoutScreen Anywhere:
    "(unknown; linux x86_64" "(unknown; linux i686");

const LISTED_AGENTS: &[TokenRow] = signs!(ListedAgent Anywhere: ", mozilla/");

const WEB_ADDRESSES: &[TokenRow] = signs!(WebAddress Anywhere: "http:" "https:" "www.");

const MAKERS_ADDRESSES: &[TokenRow] = signs!(MakersAddress Anywhere: "bsalsa.com" "www.instapaper.com");

/// Every table of this file.
pub(super) const TABLES: &[&[TokenRow]] = &[
    PLATFORMS,
    HANDHELDS_AND_TVS,
    DEVICE_PARTS,
    TV_WORDS,
    OLD_BROWSERS,
    OLD_BROWSERS_LEADING,
    DEVICES_WITHOUT_ENGINE,
    EXPLORER,
    DESKTOPS,
    COMPATIBLE,
    GOOGLE_SERVICES,
    GOOGLE_SERVICES_ENDING,
    ENGINE_REMARKS,
    BROWSER_REMARKS,
    TRADE_WORDS,
    TRADE_WORDS_OF_NO_TOOLBAR,
    RARE_TRADE_WORDS,
    PLATFORMS_WITHOUT_SCREEN,
    LISTED_AGENTS,
    WEB_ADDRESSES,
    MAKERS_ADDRESSES,
];

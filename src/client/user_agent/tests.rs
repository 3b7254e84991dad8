use super::{
    UserAgentMatcher,
    agent_traits::{AgentKind, AgentTraits},
};

fn traits_of(agent: &str) -> AgentTraits {
    UserAgentMatcher::shared().unwrap().find_agent_traits(agent.as_bytes())
}

fn assert_machines(reason: &str, agents: &[&str]) {
    for agent in agents {
        let kind = traits_of(agent).kind;
        assert_eq!(kind.map(|(_, reason)| reason), Some(reason), "{agent}");
    }
}

fn assert_people(agents: &[&str]) {
    for agent in agents {
        assert_eq!(traits_of(agent).kind, None, "{agent}");
    }
}

const CHROME: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0";

#[test]
fn a_name_behind_compatible_is_a_machine_unless_it_is_an_old_browser() {
    assert_machines(
        "form:compatible_name",
        &[
            "Mozilla/5.0 (compatible; Unheard/1.0)",
            "Mozilla/4.0 (COMPATIBLE;Unheard)",
            "Mozilla/5.0 (Linux; Android 14; K) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 \
             (compatible; Unheard)",
            "Mozilla/5.0 (compatible; MSIE or Firefox mutant; not on Windows server;)",
        ],
    );
    assert_people(&[
        "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)",
        "Mozilla/5.0 (compatible; Konqueror/4.14; Linux) KHTML/4.14.0 (like Gecko)",
        "Mozilla/5.0 (compatible; U; Webpositive/533.4; Haiku) AppleWebkit/533.4 (KHTML, like gecko) Safari/533.4",
    ]);
}

#[test]
fn an_address_of_a_site_a_host_or_a_person_is_a_machines() {
    assert_machines(
        "form:address",
        &[
            "Mozilla/5.0 (X11; Linux x86_64; +https://unheard.example/about) Gecko/20100101 Firefox/115.0",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; unheard.io) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7; ops@unheard.example) AppleWebKit/537.36 Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (unheard.com) Safari/604.1",
        ],
    );
    assert_people(&[
        "Mozilla/5.0 (Linux; Android 4.0.3; ARCHOS 101G9 Build/ICS@ROM_04.06.2012) AppleWebKit/535.19 (KHTML, like \
         Gecko) Chrome/18.0.1025.166 Safari/535.19",
        "Mozilla/5.0 (Linux; Android 16; SC-51G Build/BP4A.251205.006; wv) AppleWebKit/537.36 (KHTML, like Gecko) \
         Version/4.0 Chrome/152.0.7977.88 Mobile Safari/537.36 YJApp-ANDROID jp.co.yahoo.android.yjtop/3.227.1",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 12_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
         Mobile/16A366 [FBAN/FBIOS;FBDV/iPhone11,6;FBCR/Vodafone.de;FBID/phone;FBLC/de_DE]",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
         Mobile/22D63 Instagram 374.1.3.38.95 (iPhone14,5; iOS 18_3; en_GB@rg=npzzzz; en; scale=3.00; 1170x2532)",
    ]);
}

#[test]
fn an_agent_that_lacks_what_every_browser_has_is_a_machine() {
    assert_machines("not_a_browser", &["Unheard/1.0", "Unheard", "", "-", "Mozilla"]);
    assert_machines("form:no_platform", &["Mozilla/5.0", "Mozilla/5.0 Unheard", "Mozilla/5.0 (Unheard check)"]);
    assert_machines("form:no_engine", &["Mozilla/5.0 (Windows NT 10.0; Win64; x64)"]);
    assert_machines("form:no_screen", &["Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 Safari/538.1"]);
    assert_machines(
        "form:listed_agent",
        &["unheard/1.0, Mozilla/5.0 (Linux; Android 14; K) AppleWebKit/537.36 (KHTML, like Gecko) Safari/537.36"],
    );
}

#[test]
fn a_machine_beside_a_whole_browser_is_found_by_its_place_or_its_trade() {
    assert_machines(
        "form:engine_remark",
        &["Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko; Unheard) Chrome/126 Safari/537.36"],
    );
    assert_machines(
        "form:engine_product",
        &["Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.21 (KHTML, like Gecko) unheard Safari/537.21"],
    );
    assert_machines("form:remark", &[&format!("{CHROME} Safari/537.36 (Unheard)")]);
    assert_machines("form:trade_word", &[&format!("{CHROME} Safari/537.36 UnheardMonitor/2.1")]);
    assert_machines("form:explorer_product", &["Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1) Unheard"]);
    assert_machines(
        "form:google_service",
        &[&format!("{CHROME} Safari/537.36 Google-Unheard"), &format!("{CHROME} Safari/537.36 Unheard-Google")],
    );
}

#[test]
fn phones_called_bot_and_people_with_words_like_a_machines_are_people() {
    assert_people(&[
        "Mozilla/5.0 (Linux; Android 7.0; M bot 51) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/81.0.4044.138 \
         Mobile Safari/537.36",
        "Mozilla/5.0 (Linux; Android 6.0; POWER BOT Build/MRA58K) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/54.0.2840.85 Mobile Safari/537.36",
        "Mozilla/5.0 (Linux; Android 14; CUBOT_P80) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile \
         Safari/537.36",
        "Mozilla/5.0 (LG-T375 AppleWebkit/531 Browser/Phantom/V2.0 Widget/LGMW/3.0 MMS/LG-MMS-V1.0/1.2 \
         Java/ASVM/1.1 Profile/MIDP-2.1",
        "Mozilla/5.0 (Windows NT 6.1; WOW64; rv:26.0) Gecko/20100101 Firefox/26.0 FirePHP/0.7.4",
        "Mozilla/5.0 (Linux; Android 13; SM-A536B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 \
         Chrome/120.0.0.0 Mobile Safari/537.36 CamScanner/6.50.0",
        "MQQBrowser/3.1/Mozilla/5.0 (Linux; U; Android 2.3.6; zh-cn; Lenovo A60+) AppleWebKit/533.1 Safari/533.1",
        "SonyEricssonJ108i/R1x Browser/NetFront/3.5 Profile/MIDP-2.1 Configuration/CLDC-1.1 JavaPlatform/JP-8.5",
        &format!("{CHROME} Safari/537.36 Unheard/2.1"),
        "Mozilla/5.0 (Windows NT 10.0; WOW64) AppleWebKit/537.36 (KHTML, like Gecko) Spotify/1.1.31.703 Safari/537.36",
    ]);
    let bot = "Mozilla/5.0 (Linux; Android 7.0; SomeBot/1.0) AppleWebKit/537.36 (KHTML, like Gecko) Safari/537.36";
    assert_machines("agent:bot", &[bot]);
}

#[test]
fn apps_are_named_and_a_program_of_the_same_name_is_no_person() {
    let app_of = |agent: &str| traits_of(agent).app.map(|app| (app.name, app.source));
    let android = "Mozilla/5.0 (Linux; Android 15; SM-S928B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 \
                   Chrome/142.0.7444.74 Mobile Safari/537.36";
    for (token, app) in [
        ("MetaIAB Facebook", "facebook"),
        ("MetaIAB Instagram", "instagram"),
        ("[WA4A/2.25.1;]", "whatsapp"),
        ("Zalo android/260801903 ZaloTheme/light ZaloLanguage/en", "zalo"),
        ("Viber/13.1.0.4", "viber"),
        ("Shopee Beeshop locale/vi version=36024 appver=36024", "shopee"),
        ("AliApp(LA/7.26.1) UCBS/2.11.1.1 TTID/600000@lazada_android_7.26.1", "lazada"),
        ("LinkedIn/9.10.527", "linkedin"),
        ("aweme_250000 JsSdk/1.0 AppName/aweme ByteLocale/zh-CN BytedanceWebview/d8a21c6", "douyin"),
        ("musical_ly_2023303040 AppName/musical_ly ByteLocale/en BytedanceWebview/d8a21c6", "tiktok"),
    ] {
        let agent = format!("{android} {token}");
        assert_eq!(app_of(&agent), Some((app, app)), "{agent}");
        assert_people(&[&agent]);
    }
    assert_people(&[
        "Instagram 300.0.0.29.110 Android (33/13; 450dpi; 1080x2184; samsung; SM-G991N; o1s; exynos2100; ko_KR)",
        "[FBAN/FB4A;FBAV/567.1.0.52.74;FBBV/1003893689;FBLC/nl_NL;FBCR/NL KPN;FBMF/samsung]",
    ]);
    assert_machines("not_a_browser", &["instagram-saver/1.0", "tiktok", "my LINE/1.0 notifier"]);
    for program in ["Viber/13.9.0.9 CFNetwork/1206 Darwin/20.1.0", "WhatsApp/2.23.20.0"] {
        assert_eq!(traits_of(program).kind.map(|(kind, _)| kind), Some(AgentKind::Preview), "{program}");
    }
}

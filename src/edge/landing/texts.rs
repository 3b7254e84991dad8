//! The texts of the landing pages, a language each. No text holds a character that HTML escapes.

use crate::client::language::find_preferred_tag_among;

/// The texts in one language.
pub(super) struct Texts {
    /// The language's tag (RFC 5646), for the `lang` of the page.
    pub(super) tag: &'static str,
    /// The direction of its script: `ltr` or `rtl`.
    pub(super) direction: &'static str,
    /// The page that opens the browser by itself: its title and its text.
    pub(super) opening_browser: [&'static str; 2],
    /// The page that says how to open the browser: its title and its text.
    pub(super) open_by_hand: [&'static str; 2],
    /// The link to the browser.
    pub(super) open_browser: &'static str,
    /// The link that goes on in the app's own browser.
    pub(super) continue_here: &'static str,
    /// The page that opens an app by itself: its title and its text.
    pub(super) opening_app: [&'static str; 2],
    /// The link to the app.
    pub(super) open_app: &'static str,
    /// The link to the web.
    pub(super) continue_on_web: &'static str,
}

impl Texts {
    /// The texts in the language that `Accept-Language` prefers among those that have texts, else in English.
    pub(super) fn of_preferred_language(accept_language: &[u8]) -> &'static Texts {
        let tag = find_preferred_tag_among(accept_language, |tag| Texts::find(tag).is_some());
        Texts::find(tag).unwrap_or(&LANGUAGES[0])
    }

    /// The texts of a language tag, in any case: by its primary tag, and of Chinese by its script or its place.
    fn find(tag: &[u8]) -> Option<&'static Texts> {
        let mut subtags = tag.split(|byte| matches!(byte, b'-' | b'_'));
        let primary = subtags.next()?;
        let is_traditional = |subtag: &[u8]| TRADITIONAL_CHINESE.iter().any(|known| subtag.eq_ignore_ascii_case(known));
        let sought = match primary.eq_ignore_ascii_case(b"zh") {
            true if subtags.next().is_some_and(is_traditional) => b"zh-Hant",
            true => b"zh-Hans",
            false => primary,
        };
        LANGUAGES.iter().find(|texts| texts.tag.as_bytes().eq_ignore_ascii_case(sought))
    }
}

/// What stands behind `zh` in tags of Chinese in traditional characters.
const TRADITIONAL_CHINESE: [&[u8]; 4] = [b"Hant", b"TW", b"HK", b"MO"];

/// English, and the others by their tags.
const LANGUAGES: [Texts; 14] = [
    Texts {
        tag: "en",
        direction: "ltr",
        opening_browser: ["Opening your browser", "If nothing happens, tap the button below."],
        open_by_hand: [
            "Open this page in your browser",
            "Open the menu of this app (⋯\u{a0}or\u{a0}⋮) and choose “Open in browser”. \
             In some apps it is called “Open in Safari” or “Open in Chrome”.",
        ],
        open_browser: "Open in browser",
        continue_here: "Continue here",
        opening_app: ["Opening the app", "If the app does not open, continue on the website."],
        open_app: "Open the app",
        continue_on_web: "Continue on the website",
    },
    Texts {
        tag: "ar",
        direction: "rtl",
        opening_browser: ["جارٍ فتح المتصفح", "إذا لم يحدث شيء، فاضغط على الزر أدناه."],
        open_by_hand: [
            "افتح هذه الصفحة في المتصفح",
            "افتح قائمة هذا التطبيق (⋯\u{a0}أو\u{a0}⋮) واختر «فتح في المتصفح». \
             يظهر في بعض التطبيقات باسم «فتح في Safari» أو «فتح في Chrome».",
        ],
        open_browser: "فتح في المتصفح",
        continue_here: "المتابعة هنا",
        opening_app: ["جارٍ فتح التطبيق", "إذا لم يُفتح التطبيق، فتابع على موقع الويب."],
        open_app: "فتح التطبيق",
        continue_on_web: "المتابعة على موقع الويب",
    },
    Texts {
        tag: "de",
        direction: "ltr",
        opening_browser: ["Der Browser wird geöffnet", "Wenn nichts passiert, tippen Sie unten auf die Schaltfläche."],
        open_by_hand: [
            "Öffnen Sie diese Seite im Browser",
            "Öffnen Sie das Menü dieser App (⋯\u{a0}oder\u{a0}⋮) und wählen Sie „Im Browser öffnen“. \
             In manchen Apps heißt es „In Safari öffnen“ oder „In Chrome öffnen“.",
        ],
        open_browser: "Im Browser öffnen",
        continue_here: "Hier weiter",
        opening_app: ["Die App wird geöffnet", "Wenn sich die App nicht öffnet, geht es auf der Website weiter."],
        open_app: "App öffnen",
        continue_on_web: "Weiter zur Website",
    },
    Texts {
        tag: "es",
        direction: "ltr",
        opening_browser: ["Abriendo tu navegador", "Si no ocurre nada, toca el botón de abajo."],
        open_by_hand: [
            "Abre esta página en tu navegador",
            "Abre el menú de esta app (⋯\u{a0}o\u{a0}⋮) y elige «Abrir en el navegador». \
             En algunas apps se llama «Abrir en Safari» o «Abrir en Chrome».",
        ],
        open_browser: "Abrir en el navegador",
        continue_here: "Continuar aquí",
        opening_app: ["Abriendo la app", "Si la app no se abre, continúa en el sitio web."],
        open_app: "Abrir la app",
        continue_on_web: "Continuar en el sitio web",
    },
    Texts {
        tag: "fr",
        direction: "ltr",
        opening_browser: ["Ouverture du navigateur", "Si rien ne se passe, appuyez sur le bouton ci-dessous."],
        open_by_hand: [
            "Ouvrez cette page dans votre navigateur",
            "Ouvrez le menu de cette application (⋯\u{a0}ou\u{a0}⋮) et choisissez \
             «\u{a0}Ouvrir dans le navigateur\u{a0}». \
             Dans certaines applications, c’est «\u{a0}Ouvrir dans Safari\u{a0}» ou «\u{a0}Ouvrir dans Chrome\u{a0}».",
        ],
        open_browser: "Ouvrir dans le navigateur",
        continue_here: "Continuer ici",
        opening_app: ["Ouverture de l’application", "Si l’application ne s’ouvre pas, continuez sur le site web."],
        open_app: "Ouvrir l’application",
        continue_on_web: "Continuer sur le site web",
    },
    Texts {
        tag: "hi",
        direction: "ltr",
        opening_browser: ["ब्राउज़र खुल रहा है", "अगर कुछ न हो, तो नीचे दिए गए बटन पर टैप करें।"],
        open_by_hand: [
            "इस पेज को ब्राउज़र में खोलें",
            "इस ऐप का मेन्यू (⋯\u{a0}या\u{a0}⋮) खोलें और “ब्राउज़र में खोलें” चुनें। \
             कुछ ऐप में इसका नाम “Safari में खोलें” या “Chrome में खोलें” होता है।",
        ],
        open_browser: "ब्राउज़र में खोलें",
        continue_here: "यहीं जारी रखें",
        opening_app: ["ऐप खुल रहा है", "अगर ऐप न खुले, तो वेबसाइट पर जारी रखें।"],
        open_app: "ऐप खोलें",
        continue_on_web: "वेबसाइट पर जारी रखें",
    },
    Texts {
        tag: "id",
        direction: "ltr",
        opening_browser: ["Membuka browser", "Jika tidak terjadi apa-apa, ketuk tombol di bawah."],
        open_by_hand: [
            "Buka halaman ini di browser",
            "Buka menu aplikasi ini (⋯\u{a0}atau\u{a0}⋮) lalu pilih “Buka di browser”. \
             Di beberapa aplikasi namanya “Buka di Safari” atau “Buka di Chrome”.",
        ],
        open_browser: "Buka di browser",
        continue_here: "Lanjutkan di sini",
        opening_app: ["Membuka aplikasi", "Jika aplikasi tidak terbuka, lanjutkan di situs web."],
        open_app: "Buka aplikasi",
        continue_on_web: "Lanjutkan di situs web",
    },
    Texts {
        tag: "ja",
        direction: "ltr",
        opening_browser: ["ブラウザを開いています", "何も起こらない場合は、下のボタンをタップしてください。"],
        open_by_hand: [
            "このページをブラウザで開いてください",
            "このアプリのメニュー（⋯\u{a0}または\u{a0}⋮）を開き、「ブラウザで開く」を選んでください。\
             アプリによっては「Safariで開く」「Chromeで開く」と表示されます。",
        ],
        open_browser: "ブラウザで開く",
        continue_here: "このまま続ける",
        opening_app: ["アプリを開いています", "アプリが開かない場合は、ウェブサイトへお進みください。"],
        open_app: "アプリを開く",
        continue_on_web: "ウェブサイトへ進む",
    },
    Texts {
        tag: "ko",
        direction: "ltr",
        opening_browser: ["브라우저를 여는 중", "아무 반응이 없으면 아래 버튼을 누르세요."],
        open_by_hand: [
            "이 페이지를 브라우저에서 열어 주세요",
            "이 앱의 메뉴(⋯\u{a0}또는\u{a0}⋮)를 열고 ‘브라우저에서 열기’를 선택하세요. \
             앱에 따라 ‘Safari에서 열기’ 또는 ‘Chrome에서 열기’로 표시됩니다.",
        ],
        open_browser: "브라우저에서 열기",
        continue_here: "여기서 계속하기",
        opening_app: ["앱을 여는 중", "앱이 열리지 않으면 웹사이트에서 계속 진행하세요."],
        open_app: "앱 열기",
        continue_on_web: "웹사이트에서 계속하기",
    },
    Texts {
        tag: "pt",
        direction: "ltr",
        opening_browser: ["Abrindo o navegador", "Se nada acontecer, toque no botão abaixo."],
        open_by_hand: [
            "Abra esta página no navegador",
            "Abra o menu deste app (⋯\u{a0}ou\u{a0}⋮) e escolha “Abrir no navegador”. \
             Em alguns apps, o nome é “Abrir no Safari” ou “Abrir no Chrome”.",
        ],
        open_browser: "Abrir no navegador",
        continue_here: "Continuar aqui",
        opening_app: ["Abrindo o app", "Se o app não abrir, continue no site."],
        open_app: "Abrir o app",
        continue_on_web: "Continuar no site",
    },
    Texts {
        tag: "th",
        direction: "ltr",
        opening_browser: ["กำลังเปิดเบราว์เซอร์", "หากไม่มีอะไรเกิดขึ้น ให้แตะปุ่มด้านล่าง"],
        open_by_hand: [
            "เปิดหน้านี้ในเบราว์เซอร์",
            "เปิดเมนูของแอปนี้ (⋯\u{a0}หรือ\u{a0}⋮) แล้วเลือก “เปิดในเบราว์เซอร์” \
             บางแอปใช้ชื่อว่า “เปิดใน Safari” หรือ “เปิดใน Chrome”",
        ],
        open_browser: "เปิดในเบราว์เซอร์",
        continue_here: "ดำเนินการต่อที่นี่",
        opening_app: ["กำลังเปิดแอป", "หากแอปไม่เปิด ให้ดำเนินการต่อบนเว็บไซต์"],
        open_app: "เปิดแอป",
        continue_on_web: "ดำเนินการต่อบนเว็บไซต์",
    },
    Texts {
        tag: "vi",
        direction: "ltr",
        opening_browser: ["Đang mở trình duyệt", "Nếu không có gì xảy ra, hãy nhấn nút bên dưới."],
        open_by_hand: [
            "Mở trang này bằng trình duyệt",
            "Mở menu của ứng dụng này (⋯\u{a0}hoặc\u{a0}⋮) rồi chọn “Mở bằng trình duyệt”. \
             Ở một số ứng dụng, mục này có tên “Mở bằng Safari” hoặc “Mở bằng Chrome”.",
        ],
        open_browser: "Mở bằng trình duyệt",
        continue_here: "Tiếp tục tại đây",
        opening_app: ["Đang mở ứng dụng", "Nếu ứng dụng không mở, hãy tiếp tục trên trang web."],
        open_app: "Mở ứng dụng",
        continue_on_web: "Tiếp tục trên trang web",
    },
    Texts {
        tag: "zh-Hans",
        direction: "ltr",
        opening_browser: ["正在打开浏览器", "如果没有反应，请点击下方按钮。"],
        open_by_hand: [
            "请在浏览器中打开此页面",
            "点击此应用的菜单（⋯\u{a0}或\u{a0}⋮），选择“在浏览器中打开”。\
             有的应用显示为“在 Safari 中打开”或“在 Chrome 中打开”。",
        ],
        open_browser: "在浏览器中打开",
        continue_here: "留在这里继续",
        opening_app: ["正在打开应用", "如果应用没有打开，请前往网站继续。"],
        open_app: "打开应用",
        continue_on_web: "前往网站",
    },
    Texts {
        tag: "zh-Hant",
        direction: "ltr",
        opening_browser: ["正在開啟瀏覽器", "如果沒有反應，請點一下下方的按鈕。"],
        open_by_hand: [
            "請在瀏覽器中開啟此頁面",
            "點一下此應用程式的選單（⋯\u{a0}或\u{a0}⋮），選擇「在瀏覽器中開啟」。\
             有的應用程式顯示為「在 Safari 中開啟」或「在 Chrome 中開啟」。",
        ],
        open_browser: "在瀏覽器中開啟",
        continue_here: "留在這裡繼續",
        opening_app: ["正在開啟應用程式", "如果應用程式沒有開啟，請前往網站繼續。"],
        open_app: "開啟應用程式",
        continue_on_web: "前往網站",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_in_the_language_that_the_browser_likes_best_of_those_with_texts() {
        for (accept_language, expected) in [
            ("VI", "vi"),
            ("ar-EG", "ar"),
            ("fil-PH, en;q=0.9", "en"),
            ("ca-ES, es;q=0.9, en;q=0.8", "es"),
            ("en;q=0.5, ko-KR;q=0.9", "ko"),
            ("zh", "zh-Hans"),
            ("zh-CN,zh;q=0.9", "zh-Hans"),
            ("zh-TW,zh;q=0.9,en;q=0.8", "zh-Hant"),
            ("zh-hant-HK", "zh-Hant"),
            ("zh-Hans-TW", "zh-Hans"),
            ("pt-BR", "pt"),
            ("uk-UA, xx", "en"),
            ("de;q=0", "en"),
            ("", "en"),
            ("zh_TW", "zh-Hant"),
        ] {
            assert_eq!(Texts::of_preferred_language(accept_language.as_bytes()).tag, expected, "{accept_language}");
        }
    }

    #[test]
    fn every_text_is_there_and_names_the_entry_of_the_menu_as_the_link_does() {
        let directions = LANGUAGES.iter().filter(|texts| texts.direction == "rtl").map(|texts| texts.tag);
        assert_eq!(directions.collect::<Vec<_>>(), ["ar"]);
        for texts in &LANGUAGES {
            let Texts { opening_browser, open_by_hand, opening_app, .. } = texts;
            let links = [texts.open_browser, texts.continue_here, texts.open_app, texts.continue_on_web];
            let all = opening_browser.iter().chain(open_by_hand).chain(opening_app).chain(&links);
            for text in all {
                assert!(!text.is_empty() && !text.contains(['&', '<', '>', '"']), "{}: {text}", texts.tag);
            }
            assert!(open_by_hand[1].contains(texts.open_browser), "{} names the link of the menu", texts.tag);
        }
    }
}

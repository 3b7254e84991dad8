//! The texts of the landing pages, a language each. No text holds a character that HTML escapes.

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
    /// The texts of a language, by its primary tag in any case; of an unknown one in English.
    pub(super) fn of_language(primary_tag: &[u8]) -> &'static Texts {
        let is_tag = |texts: &&Texts| texts.tag.as_bytes().eq_ignore_ascii_case(primary_tag);
        LANGUAGES.iter().find(is_tag).unwrap_or(&LANGUAGES[0])
    }
}

/// English, and the others by their tags.
const LANGUAGES: [Texts; 13] = [
    Texts {
        tag: "en",
        direction: "ltr",
        opening_browser: ["Opening your browser", "If nothing happens, tap the button."],
        open_by_hand: [
            "Open this page in your browser",
            "Open the menu of this app (⋯ or ⋮) and choose “Open in browser”.",
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
        opening_browser: ["جارٍ فتح المتصفح", "إذا لم يحدث شيء، فاضغط على الزر."],
        open_by_hand: ["افتح هذه الصفحة في المتصفح", "افتح قائمة هذا التطبيق (⋯ أو ⋮) ثم اختر «فتح في المتصفح»."],
        open_browser: "فتح في المتصفح",
        continue_here: "المتابعة هنا",
        opening_app: ["جارٍ فتح التطبيق", "إذا لم يُفتح التطبيق، فتابع على الموقع."],
        open_app: "فتح التطبيق",
        continue_on_web: "المتابعة على الموقع",
    },
    Texts {
        tag: "de",
        direction: "ltr",
        opening_browser: ["Der Browser wird geöffnet", "Falls nichts geschieht, tippen Sie auf die Schaltfläche."],
        open_by_hand: [
            "Öffnen Sie diese Seite im Browser",
            "Öffnen Sie das Menü dieser App (⋯ oder ⋮) und wählen Sie „Im Browser öffnen“.",
        ],
        open_browser: "Im Browser öffnen",
        continue_here: "Hier fortfahren",
        opening_app: ["Die App wird geöffnet", "Falls sich die App nicht öffnet, fahren Sie auf der Website fort."],
        open_app: "App öffnen",
        continue_on_web: "Auf der Website fortfahren",
    },
    Texts {
        tag: "es",
        direction: "ltr",
        opening_browser: ["Abriendo tu navegador", "Si no ocurre nada, toca el botón."],
        open_by_hand: [
            "Abre esta página en tu navegador",
            "Abre el menú de esta app (⋯ o ⋮) y elige «Abrir en el navegador».",
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
        opening_browser: ["Ouverture du navigateur", "Si rien ne se passe, touchez le bouton."],
        open_by_hand: [
            "Ouvrez cette page dans votre navigateur",
            "Ouvrez le menu de cette application (⋯ ou ⋮) et choisissez « Ouvrir dans le navigateur ».",
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
        opening_browser: ["ब्राउज़र खुल रहा है", "अगर कुछ न हो, तो बटन पर टैप करें।"],
        open_by_hand: ["इस पेज को ब्राउज़र में खोलें", "इस ऐप का मेन्यू (⋯ या ⋮) खोलें और “ब्राउज़र में खोलें” चुनें।"],
        open_browser: "ब्राउज़र में खोलें",
        continue_here: "यहीं जारी रखें",
        opening_app: ["ऐप खुल रहा है", "अगर ऐप न खुले, तो वेबसाइट पर जारी रखें।"],
        open_app: "ऐप खोलें",
        continue_on_web: "वेबसाइट पर जारी रखें",
    },
    Texts {
        tag: "id",
        direction: "ltr",
        opening_browser: ["Membuka browser", "Jika tidak terjadi apa-apa, ketuk tombol."],
        open_by_hand: [
            "Buka halaman ini di browser",
            "Buka menu aplikasi ini (⋯ atau ⋮) lalu pilih “Buka di browser”.",
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
        opening_browser: ["ブラウザを開いています", "何も起こらない場合は、ボタンをタップしてください。"],
        open_by_hand: [
            "このページをブラウザで開いてください",
            "このアプリのメニュー（⋯ または ⋮）を開き、「ブラウザで開く」を選んでください。",
        ],
        open_browser: "ブラウザで開く",
        continue_here: "このまま続ける",
        opening_app: ["アプリを開いています", "アプリが開かない場合は、ウェブサイトで続けてください。"],
        open_app: "アプリを開く",
        continue_on_web: "ウェブサイトで続ける",
    },
    Texts {
        tag: "ko",
        direction: "ltr",
        opening_browser: ["브라우저를 여는 중", "아무 일도 일어나지 않으면 버튼을 누르세요."],
        open_by_hand: [
            "이 페이지를 브라우저에서 여세요",
            "이 앱의 메뉴(⋯ 또는 ⋮)를 열고 ‘브라우저에서 열기’를 선택하세요.",
        ],
        open_browser: "브라우저에서 열기",
        continue_here: "여기서 계속하기",
        opening_app: ["앱을 여는 중", "앱이 열리지 않으면 웹사이트에서 계속하세요."],
        open_app: "앱 열기",
        continue_on_web: "웹사이트에서 계속하기",
    },
    Texts {
        tag: "pt",
        direction: "ltr",
        opening_browser: ["Abrindo o navegador", "Se nada acontecer, toque no botão."],
        open_by_hand: [
            "Abra esta página no navegador",
            "Abra o menu deste app (⋯ ou ⋮) e escolha “Abrir no navegador”.",
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
        opening_browser: ["กำลังเปิดเบราว์เซอร์", "หากไม่มีอะไรเกิดขึ้น ให้แตะปุ่ม"],
        open_by_hand: ["เปิดหน้านี้ในเบราว์เซอร์", "เปิดเมนูของแอปนี้ (⋯ หรือ ⋮) แล้วเลือก “เปิดในเบราว์เซอร์”"],
        open_browser: "เปิดในเบราว์เซอร์",
        continue_here: "ดำเนินการต่อที่นี่",
        opening_app: ["กำลังเปิดแอป", "หากแอปไม่เปิด ให้ดำเนินการต่อบนเว็บไซต์"],
        open_app: "เปิดแอป",
        continue_on_web: "ดำเนินการต่อบนเว็บไซต์",
    },
    Texts {
        tag: "vi",
        direction: "ltr",
        opening_browser: ["Đang mở trình duyệt", "Nếu không có gì xảy ra, hãy chạm vào nút."],
        open_by_hand: [
            "Mở trang này trong trình duyệt",
            "Mở menu của ứng dụng này (⋯ hoặc ⋮) rồi chọn “Mở trong trình duyệt”.",
        ],
        open_browser: "Mở trong trình duyệt",
        continue_here: "Tiếp tục tại đây",
        opening_app: ["Đang mở ứng dụng", "Nếu ứng dụng không mở, hãy tiếp tục trên trang web."],
        open_app: "Mở ứng dụng",
        continue_on_web: "Tiếp tục trên trang web",
    },
    Texts {
        tag: "zh",
        direction: "ltr",
        opening_browser: ["正在打开浏览器", "如果没有反应，请点按按钮。"],
        open_by_hand: ["请在浏览器中打开此页面", "打开此应用的菜单（⋯ 或 ⋮），选择“在浏览器中打开”。"],
        open_browser: "在浏览器中打开",
        continue_here: "在此继续",
        opening_app: ["正在打开应用", "如果应用没有打开，请在网站上继续。"],
        open_app: "打开应用",
        continue_on_web: "在网站上继续",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_has_its_texts_and_every_other_has_the_english_ones() {
        assert_eq!(Texts::of_language(b"VI").open_app, "Mở ứng dụng");
        assert_eq!((Texts::of_language(b"ar").direction, Texts::of_language(b"th").direction), ("rtl", "ltr"));
        for unknown in [&b""[..], b"xx", b"fil"] {
            assert_eq!(Texts::of_language(unknown).tag, "en");
        }
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

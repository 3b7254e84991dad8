//! The parameters that ad platforms and apps add to a link. Their values tell one tap from another.

/// The parameter of an ad platform's click id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdParameter {
    /// The name, as the platform writes it.
    pub name: &'static str,
    /// The platform.
    pub source: &'static str,
}

impl AdParameter {
    /// The parameter of a folded name (`uri::query::fold_name`), if an ad platform uses the name. Facebook and
    /// Instagram both use `fbclid`.
    pub fn find_by_folded_name(name: &[u8]) -> Option<AdParameter> {
        let (name, source) = match name {
            b"fbclid" => ("fbclid", "facebook"),
            b"gclid" => ("gclid", "google"),
            b"gbraid" => ("gbraid", "google"),
            b"wbraid" => ("wbraid", "google"),
            b"dclid" => ("dclid", "google"),
            b"ttclid" => ("ttclid", "tiktok"),
            b"msclkid" => ("msclkid", "bing"),
            b"twclid" => ("twclid", "x"),
            b"li_fat_id" => ("li_fat_id", "linkedin"),
            b"sccid" => ("ScCid", "snapchat"),
            b"epik" => ("epik", "pinterest"),
            b"rdt_cid" => ("rdt_cid", "reddit"),
            b"yclid" => ("yclid", "yandex"),
            _ => return None,
        };
        Some(AdParameter { name, source })
    }
}

/// Whether a folded name is that of Instagram's mark on a shared link.
pub fn is_instagram_share_id(folded_name: &[u8]) -> bool {
    matches!(folded_name, b"igsh" | b"igshid")
}

/// Whether a parameter of this folded name is a mark that an ad platform or an app adds, which can differ between two
/// taps.
pub fn is_platform_mark(folded_name: &[u8]) -> bool {
    is_instagram_share_id(folded_name) || AdParameter::find_by_folded_name(folded_name).is_some()
}

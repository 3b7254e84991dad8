//! Reads the targets of a record, and names every mistake with its place.

use serde_json::{Map, Value};

use super::{RecordError, field_errors::FieldErrors, time_rules::read_time_window};
use crate::model::{
    device::{DeviceClass, Os},
    known_names::{APPS, COUNTRIES, SOURCES},
    link::target::{LinkTargets, MAX_ASKED_PARAMETERS, Target, TargetCondition, Test, Variant, Visitor},
};

/// The most targets of a link.
const MAX_TARGETS: usize = 32;
/// The most variants of a split.
const MAX_VARIANTS: usize = 16;
/// The longest name of a variant or of a parameter, bytes.
const MAX_NAME: usize = 32;
/// The longest value of a parameter, bytes.
const MAX_VALUE: usize = 64;

/// The names of conditions, for an error about another one.
const CONDITIONS: &str = "os, device, in_app, source, country, region, language, time, query, visitor, split and not";

/// Reads targets and the split that they ask for. Adds every mistake to `errors`.
pub(crate) fn read_targets_and_add_errors<'a>(
    targets: &'a [Value],
    split: &'a [Value],
    errors: &mut Vec<RecordError>,
) -> LinkTargets<'a> {
    let errors_before = errors.len();
    let variants = read_split(split, &mut FieldErrors { field: "split", errors });
    let mut told = FieldErrors { field: "targets", errors };
    if targets.len() > MAX_TARGETS {
        told.add("", format!("are {}, allowed are {MAX_TARGETS}", targets.len()));
    }
    let mut reader = TargetReader { variants: &variants, errors: told };
    let read: Vec<Option<Target<'_>>> =
        targets.iter().enumerate().map(|(at, value)| reader.read_target(&format!("/{at}"), value)).collect();
    reader.add_errors_of_unreachable_targets(&read);
    let targets: Vec<Target<'_>> = read.into_iter().flatten().collect();
    reader.add_error_of_too_many_parameters(&targets);
    if !variants.is_empty() && errors.len() == errors_before && !asks_for_variant(&targets) {
        errors.push(RecordError::new("split", "is asked for by no target; leave it out, or name a variant there"));
    }
    LinkTargets { targets, variants }
}

fn asks_for_variant(targets: &[Target<'_>]) -> bool {
    let mut conditions = targets.iter().flat_map(|target| &target.conditions);
    conditions.any(|condition| matches!(condition.test, Test::Split(_)))
}

/// The variants of a split, whose weights add up to 100.
fn read_split<'a>(split: &'a [Value], errors: &mut FieldErrors<'_>) -> Vec<Variant<'a>> {
    let mut variants: Vec<Variant<'a>> = Vec::new();
    if split.len() == 1 || split.len() > MAX_VARIANTS {
        errors.add("", format!("has {} variants; allowed are 2 to {MAX_VARIANTS}", split.len()));
    }
    let mut total = 0;
    for (at, value) in split.iter().enumerate() {
        let Some(variant) = read_variant(&format!("/{at}"), value, errors) else { return Vec::new() };
        if variants.iter().any(|other| other.name == variant.name) {
            errors.add(&format!("/{at}/name"), format!("{:?} stands twice", variant.name));
        }
        total += u32::from(variant.weight);
        variants.push(variant);
    }
    if !split.is_empty() && total != 100 {
        errors.add("", format!("has weights that add up to {total}; they must add up to 100"));
    }
    variants
}

fn read_variant<'a>(pointer: &str, value: &'a Value, errors: &mut FieldErrors<'_>) -> Option<Variant<'a>> {
    let form = "is no variant; write {\"name\":\"a\",\"weight\":50}";
    let Some(object) = value.as_object().filter(|object| object.keys().all(|key| key == "name" || key == "weight"))
    else {
        errors.add(pointer, form);
        return None;
    };
    let (Some(name), Some(weight)) = (object.get("name").and_then(Value::as_str), object.get("weight")) else {
        errors.add(pointer, form);
        return None;
    };
    if !is_plain_name(name) {
        errors.add(&format!("{pointer}/name"), name_error(name));
        return None;
    }
    let Some(weight) = weight.as_u64().and_then(|weight| u8::try_from(weight).ok()).filter(|at| (1..100).contains(at))
    else {
        errors.add(&format!("{pointer}/weight"), format!("is {weight}; allowed are 1 to 99, percent of the visitors"));
        return None;
    };
    Some(Variant { name, weight })
}

fn is_plain_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_plain)
}

fn name_error(name: &str) -> String {
    format!("{name:?} is no name of 1 to {MAX_NAME} letters, digits, '-', '.', '_' and '~'")
}

/// Reads targets one after the other.
struct TargetReader<'v, 'e> {
    variants: &'v [Variant<'v>],
    errors: FieldErrors<'e>,
}

impl TargetReader<'_, '_> {
    /// Reads one target; `None` if it is none.
    fn read_target<'a>(&mut self, pointer: &str, value: &'a Value) -> Option<Target<'a>> {
        let form = "is no target; write {\"when\":{\"os\":\"ios\"},\"url\":\"https://…\"}";
        let Some(object) = value.as_object() else {
            self.errors.add(pointer, form);
            return None;
        };
        if let Some(unknown) = object.keys().find(|key| *key != "when" && *key != "url") {
            self.errors.add(&format!("{pointer}/{}", escape_pointer(unknown)), "is unknown; a target has when and url");
            return None;
        }
        let (Some(when), Some(url)) =
            (object.get("when").and_then(Value::as_object), object.get("url").and_then(Value::as_str))
        else {
            self.errors.add(pointer, form);
            return None;
        };
        let mut conditions = Vec::new();
        let told = self.errors.errors.len();
        self.read_conditions(&format!("{pointer}/when"), when, false, &mut conditions);
        if self.errors.errors.len() > told {
            return None;
        }
        if conditions.is_empty() {
            let message = "has no condition, so that nothing behind the target is ever reached, the link's own url \
                           included; give the target a condition, or write its url as the link's";
            self.errors.add(&format!("{pointer}/when"), message);
            return None;
        }
        let target = Target { conditions, url };
        self.add_error_of_parameter_that_is_absent(pointer, &target);
        Some(target)
    }

    fn read_conditions<'a>(
        &mut self,
        pointer: &str,
        when: &'a Map<String, Value>,
        is_negated: bool,
        conditions: &mut Vec<TargetCondition<'a>>,
    ) {
        for (name, value) in when {
            let at = format!("{pointer}/{}", escape_pointer(name));
            match (&**name, value) {
                ("not", Value::Object(negated)) if !is_negated => {
                    self.read_conditions(&at, negated, true, conditions);
                }
                ("query", Value::Object(parameters)) => {
                    for (parameter, value) in parameters {
                        let at = format!("{at}/{}", escape_pointer(parameter));
                        conditions.extend(self.read_parameter(&at, parameter, value, is_negated));
                    }
                }
                // `false` asks for the opposite, so that nobody needs `not` for it.
                ("in_app", Value::Bool(is_in_app)) => {
                    conditions.push(TargetCondition { is_negated: is_negated == *is_in_app, test: Test::InApp });
                }
                _ => {
                    conditions.extend(self.read_test(&at, name, value).map(|test| TargetCondition { is_negated, test }))
                }
            }
        }
    }

    /// Reads a condition on one parameter of the query. `false` asks that it is absent.
    fn read_parameter<'a>(
        &mut self,
        pointer: &str,
        name: &'a str,
        value: &'a Value,
        is_negated: bool,
    ) -> Option<TargetCondition<'a>> {
        if !is_plain_name(name) {
            self.errors.add(pointer, name_error(name));
            return None;
        }
        if let Value::Bool(is_present) = value {
            let test = Test::Query { name, values: Vec::new() };
            return Some(TargetCondition { is_negated: is_negated == *is_present, test });
        }
        let values = self.read_words(pointer, value, "true, false, a value or a list of values")?;
        let is_value = |value: &&str| (1..=MAX_VALUE).contains(&value.len()) && !value.chars().any(char::is_control);
        if let Some(bad) = values.iter().find(|value| !is_value(value)) {
            self.errors
                .add(pointer, format!("{bad:?} is no value of 1 to {MAX_VALUE} bytes without control characters"));
            return None;
        }
        Some(TargetCondition { is_negated, test: Test::Query { name, values } })
    }

    fn read_test<'a>(&mut self, pointer: &str, name: &str, value: &'a Value) -> Option<Test<'a>> {
        match name {
            "os" => self.read_known(pointer, value, &Os::ALL.map(Os::as_str), Os::from_word).map(Test::Os),
            "device" => {
                let words = DeviceClass::ALL.map(DeviceClass::as_str);
                self.read_known(pointer, value, &words, DeviceClass::from_word).map(Test::Device)
            }
            "in_app" => self.read_listed(pointer, value, APPS).map(Test::App),
            "source" => self.read_listed(pointer, value, SOURCES).map(Test::Source),
            "country" => {
                let is_country = |word: &str| COUNTRIES.contains(&word);
                self.read_checked(pointer, value, "a country of ISO 3166-1, such as VN", is_country).map(Test::Country)
            }
            "region" => {
                self.read_checked(pointer, value, "a region of ISO 3166-2, such as US-CA", is_region).map(Test::Region)
            }
            "language" => {
                let is_tag = |word: &str| matches!(word.len(), 2 | 3) && word.bytes().all(|at| at.is_ascii_lowercase());
                self.read_checked(pointer, value, "the primary tag of a language, such as vi", is_tag)
                    .map(Test::Language)
            }
            "time" => read_time_window(pointer, value, &mut self.errors).map(Test::Time),
            "visitor" => match value.as_str().and_then(Visitor::from_word) {
                Some(visitor) => Some(Test::Visitor(visitor)),
                None => {
                    self.errors.add(pointer, format!("is {value}; allowed are \"new\" and \"returning\""));
                    None
                }
            },
            "split" => self.read_variants(pointer, value).map(Test::Split),
            "not" => {
                self.errors.add(pointer, "is an object of conditions, and holds no further not");
                None
            }
            "query" => {
                self.errors.add(pointer, "is an object such as {\"utm_source\":\"ig\"}; true asks for any value");
                None
            }
            _ => {
                self.errors.add(pointer, format!("is no condition; there are {CONDITIONS}"));
                None
            }
        }
    }

    /// A text or a list of texts, which is not empty.
    fn read_words<'a>(&mut self, pointer: &str, value: &'a Value, expected: &str) -> Option<Vec<&'a str>> {
        let words: Option<Vec<&str>> = match value {
            Value::String(word) => Some(vec![word]),
            Value::Array(words) => words.iter().map(Value::as_str).collect(),
            _ => None,
        };
        let words = words.filter(|words| !words.is_empty() && words.len() <= usize::from(u8::MAX));
        if words.is_none() {
            self.errors.add(pointer, format!("is not {expected}"));
        }
        words
    }

    fn read_checked<'a>(
        &mut self,
        pointer: &str,
        value: &'a Value,
        expected: &str,
        is_good: impl Fn(&str) -> bool,
    ) -> Option<Vec<&'a str>> {
        let words = self.read_words(pointer, value, &format!("{expected}, or a list"))?;
        match words.iter().find(|word| !is_good(word)) {
            Some(bad) => {
                self.errors.add(pointer, format!("{bad:?} is not {expected}"));
                None
            }
            None => Some(words),
        }
    }

    fn read_listed<'a>(&mut self, pointer: &str, value: &'a Value, known: &[&str]) -> Option<Vec<&'a str>> {
        let words = self.read_words(pointer, value, "a name or a list of names")?;
        match words.iter().find(|word| !known.contains(word)) {
            Some(bad) => {
                self.errors.add(pointer, format!("{bad:?} is unknown; known are {}", known.join(", ")));
                None
            }
            None => Some(words),
        }
    }

    fn read_known<T>(
        &mut self,
        pointer: &str,
        value: &Value,
        known: &[&str],
        find: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let words = self.read_listed(pointer, value, known)?;
        words.into_iter().map(find).collect()
    }

    /// The indexes of the named variants.
    fn read_variants(&mut self, pointer: &str, value: &Value) -> Option<Vec<u8>> {
        let names: Vec<&str> = self.variants.iter().map(|variant| variant.name).collect();
        if names.is_empty() {
            self.errors.add(pointer, "asks for a variant, but the link has no split, or a wrong one");
            return None;
        }
        let words = self.read_listed(pointer, value, &names)?;
        Some(words.iter().filter_map(|word| names.iter().position(|name| name == word)).map(|at| at as u8).collect())
    }

    fn add_errors_of_unreachable_targets(&mut self, targets: &[Option<Target<'_>>]) {
        for (at, target) in targets.iter().enumerate() {
            let Some(target) = target else { continue };
            let hides =
                |other: &Option<Target<'_>>| other.as_ref().is_some_and(|other| target.has_all_conditions_of(other));
            if let Some(hiding) = targets[..at].iter().position(hides) {
                let message = format!(
                    "is never reached: targets/{hiding} stands before it and holds wherever this one does; \
                     put the one with more conditions first"
                );
                self.errors.add(&format!("/{at}"), message);
            }
        }
    }

    /// A placeholder of a parameter that the target's conditions say is absent is never filled.
    fn add_error_of_parameter_that_is_absent(&mut self, pointer: &str, target: &Target<'_>) {
        for condition in &target.conditions {
            let TargetCondition { is_negated: true, test: Test::Query { name, values } } = condition else { continue };
            let is_filled = |placeholder: String| target.url.contains(&placeholder);
            if values.is_empty() && (is_filled(format!("{{query:{name}}}")) || is_filled(format!("{{{name}}}"))) {
                let message = format!("has a placeholder of {name}, which the target's conditions say is absent");
                self.errors.add(&format!("{pointer}/url"), message);
            }
        }
    }

    fn add_error_of_too_many_parameters(&mut self, targets: &[Target<'_>]) {
        let mut names: Vec<&str> = Vec::new();
        for condition in targets.iter().flat_map(|target| &target.conditions) {
            if let Test::Query { name, .. } = condition.test
                && !names.iter().any(|known| known.eq_ignore_ascii_case(name))
            {
                names.push(name);
            }
        }
        if names.len() > MAX_ASKED_PARAMETERS {
            self.errors.add(
                "",
                format!("ask for {} parameters of the query, allowed are {MAX_ASKED_PARAMETERS}", names.len()),
            );
        }
    }
}

/// Whether a text has the form of a region of a known country.
fn is_region(word: &str) -> bool {
    word.split_once('-').is_some_and(|(country, region)| {
        let is_part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        COUNTRIES.contains(&country) && (1..=3).contains(&region.len()) && region.bytes().all(is_part)
    })
}

/// A name as a part of a JSON pointer (RFC 6901 §3).
fn escape_pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

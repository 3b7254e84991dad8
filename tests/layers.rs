//! The structure of the source tree, checked on its syntax trees: which module may import which, no circles of files,
//! no item that only tests use, `unsafe` in one file. And the form of the text: the length of lines, and files that are
//! named and do not exist.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test, its helpers included")]

use std::{collections::BTreeSet, fs, sync::OnceLock};

use syn::Item;

use crate::{
    circles::{Dependencies, find_circles, find_dependencies},
    references::{Reference, find_references},
    tree::{SourceFile, identifiers, parse_source, read_source_files, repository_root},
    unused::find_unused,
};

#[path = "layers/circles.rs"]
mod circles;
#[path = "layers/references.rs"]
mod references;
#[path = "layers/text.rs"]
mod text;
#[path = "layers/tree.rs"]
mod tree;
#[path = "layers/unused.rs"]
mod unused;

/// The layers, the highest first, as `src/lib.rs` draws them. A module imports from lower layers only.
const LAYERS: &[(u8, &[&str])] = &[
    (10, &["cli", "fuzzing"]),
    (9, &["server"]),
    (8, &["config"]),
    (7, &["admin"]),
    (6, &["api", "sinks"]),
    (5, &["edge", "delivery"]),
    (4, &["events", "catalog", "import", "commission", "receipts"]),
    (3, &["links", "attribution", "client"]),
    (2, &["model"]),
    (1, &["journal", "net", "kafka", "file_series", "access_log", "geoip"]),
    (
        0,
        &[
            "metrics",
            "faults",
            "lifecycle",
            "file_watch",
            "clock",
            "size",
            "text",
            "uri",
            "invalid_value",
            "word_enum",
            "lock_holder",
        ],
    ),
];

/// The only file that may have `unsafe` blocks.
const FILE_WITH_UNSAFE: &str = "journal/ring.rs";

/// Pairs of files that still depend on each other. The list may only become shorter.
const KNOWN_CIRCLES: &[(&str, &str)] = &[];

/// Items that only tests use, each with its reason.
const USED_BY_TESTS_ALONE: &[(&str, &str)] = &[
    ("Keyring::verify_url_token", "the check before a sale is credited; tests check every token by it"),
    ("HandOver", "the hand-over to the producer alone, for the instruction counts of `benches/delivery`"),
    ("HandOver::connect", "the same"),
    ("HandOver::try_hand_over", "the same"),
    ("KeyScope::has_same_keys_as", "a step of `verify_url_token`"),
    ("UrlKeys::verify_token", "how a shop checks a token; tests check exported keys by it"),
];

/// Files whose unused items are not looked at yet. The list may only become shorter.
const KNOWN_UNUSED: &[&str] = &[];

/// What the tests below need of the tree. Parsing takes seconds, and a syntax tree cannot be shared by threads.
struct Facts {
    /// Each file's name, module and mentions of this crate.
    files: Vec<(String, Vec<String>, Vec<Reference>)>,
    dependencies: Dependencies,
    unused: Vec<String>,
    /// `src/file:line` of each `unsafe` outside [`FILE_WITH_UNSAFE`].
    misplaced_unsafe: Vec<String>,
    modules_of_root: BTreeSet<String>,
    uses_of_root: usize,
}

fn facts() -> &'static Facts {
    static FACTS: OnceLock<Facts> = OnceLock::new();
    FACTS.get_or_init(|| {
        let files = read_source_files();
        let root = &files[0].syntax.items;
        let modules = root.iter().filter_map(|item| match item {
            Item::Mod(module) => Some(module.ident.to_string()),
            _ => None,
        });
        Facts {
            dependencies: find_dependencies(&files),
            unused: find_unused(&files),
            misplaced_unsafe: files.iter().filter(|file| file.name != FILE_WITH_UNSAFE).flat_map(find_unsafe).collect(),
            modules_of_root: modules.collect(),
            uses_of_root: root.iter().filter(|item| matches!(item, Item::Use(_))).count(),
            files: files.iter().map(|file| (file.name.clone(), file.module.clone(), find_references(file))).collect(),
        }
    })
}

fn layer_of(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(_, modules)| modules.contains(&module)).map(|(layer, _)| *layer)
}

/// Why a mention breaks the rules of the layers; `None` if it keeps them.
fn layer_violation(own: &str, own_layer: u8, reference: &Reference) -> Option<String> {
    // In a top module's own file, one `super` is already the crate's root.
    if reference.supers > 1 || reference.from.len() <= reference.supers && reference.supers > 0 {
        return Some("more `super` than leads to a parent inside the top module: write crate::…".to_owned());
    }
    let Some(other) = reference.path.first() else {
        return Some("imports the crate's root".to_owned());
    };
    let is_allowed = other == own || layer_of(other).is_some_and(|layer| layer < own_layer);
    (!is_allowed).then(|| format!("`{own}` (layer {own_layer}) may not import `{other}`"))
}

#[test]
fn every_module_imports_only_from_lower_layers() {
    let mut wrong = Vec::new();
    for (name, module, references) in &facts().files {
        let Some(own) = module.first() else { continue };
        let Some(own_layer) = layer_of(own) else {
            wrong.push(format!("src/{name}: module `{own}` has no layer in tests/layers.rs"));
            continue;
        };
        for reference in references {
            if let Some(why) = layer_violation(own, own_layer, reference) {
                wrong.push(format!("src/{name}:{}: {why}", reference.line));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_root_declares_the_modules_of_the_layers_and_re_exports_nothing() {
    assert_eq!(facts().uses_of_root, 0, "src/lib.rs must not `use` anything");
    let listed: BTreeSet<String> =
        LAYERS.iter().flat_map(|(_, modules)| modules.iter().map(|module| (*module).to_owned())).collect();
    assert_eq!(facts().modules_of_root, listed, "src/lib.rs and tests/layers.rs list the same modules");
}

#[test]
fn the_drawing_in_the_root_shows_every_module_on_its_layer() {
    let text = fs::read_to_string(repository_root().join("src/lib.rs")).unwrap();
    for (layer, modules) in LAYERS {
        let row = text.lines().find(|line| line.starts_with(&format!("//! {layer}  ")));
        let row = row.unwrap_or_else(|| panic!("src/lib.rs draws no layer {layer}"));
        for module in *modules {
            let is_drawn = row.split(|sign: char| sign != '_' && !sign.is_alphanumeric()).any(|word| word == *module);
            assert!(is_drawn, "`{module}` is missing in: {row}");
        }
    }
}

#[test]
fn every_file_below_src_belongs_to_a_module() {
    let read: BTreeSet<String> = facts().files.iter().map(|(name, ..)| format!("src/{name}")).collect();
    let found = tree::rust_files_below("src").into_iter().map(|path| path.display().to_string()).collect();
    assert_eq!(read, found, "the files that `mod` declares, and the files that exist");
}

#[test]
fn no_files_of_a_module_depend_on_each_other_in_a_circle() {
    let is_known = |files: &[&str]| {
        files.len() == 2 && KNOWN_CIRCLES.iter().any(|(one, other)| files.contains(one) && files.contains(other))
    };
    // A known pair is taken apart, so that a longer circle through one of its files is still found.
    let mut dependencies = facts().dependencies.clone();
    dependencies.iter_mut().for_each(|(file, others)| others.retain(|other, _| !is_known(&[file, other])));
    let mut wrong = String::new();
    for circle in find_circles(&dependencies) {
        wrong += &format!("\na circle of {} files:\n", circle.len());
        for step in circle {
            wrong += &format!("  src/{}:{} mentions {}\n", step.file, step.line, step.mentions);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_visible_item_is_used_by_the_product() {
    let is_known = |item: &&String| {
        USED_BY_TESTS_ALONE.iter().any(|(known, _)| item.ends_with(&format!("`{known}`")))
            || KNOWN_UNUSED.iter().any(|known| item.starts_with(&format!("src/{known}:")))
    };
    let unused: Vec<&String> = facts().unused.iter().filter(|item| !is_known(item)).collect();
    assert!(unused.is_empty(), "used by nothing, or by tests alone:\n{unused:#?}");
}

#[test]
fn unsafe_is_in_the_file_of_the_ring_alone() {
    assert!(
        facts().misplaced_unsafe.is_empty(),
        "{:#?}: unsafe belongs in src/{FILE_WITH_UNSAFE}",
        facts().misplaced_unsafe
    );
}

fn find_unsafe(file: &SourceFile) -> Vec<String> {
    let words = identifiers(&file.tokens).into_iter().filter(|word| word == "unsafe");
    words.map(|word| format!("src/{}:{}", file.name, word.span().start().line)).collect()
}

// --- the checks themselves, on small sources -----------------------------------------------------------------------

/// The paths that a source mentions, as the file of the module `top::own`.
fn references_of(source: &str) -> Vec<Reference> {
    find_references(&parse_source("top/own.rs", source))
}

#[test]
fn mentions_are_found_in_groups_types_bodies_macros_and_through_imports() {
    let source = r##"
        // use crate::comment;
        use crate::{
            alpha::{self, Inner}, beta,
            gamma::Deep as Other,
        };
        pub(crate) fn f<'a>(x: &'a str) -> crate::delta::T { let _ = "crate::string"; '\'' }
        pub(in crate::epsilon) struct S(char, <u8 as crate::zeta::T>::U);
        const C: char = format!("{}", [crate::eta::NAME, Other::new(beta::y)]);
        use crate as hidden;
    "##;
    let found = references_of(source);
    let has = |path: &str| found.iter().any(|reference| reference.path.join("::") == path);
    for path in [
        "alpha",
        "alpha::Inner",
        "beta",
        "gamma::Deep",
        "delta::T",
        "epsilon",
        "zeta::T::U",
        "eta::NAME",
        "gamma::Deep::new",
        "beta::y",
        "",
    ] {
        assert!(has(path), "{path:?} in {found:#?}");
    }
    assert!(!found.iter().any(|reference| reference.path.iter().any(|word| word == "string" || word == "comment")));
    let lines: Vec<usize> = references_of("\n\nuse crate::{a,\n b};").iter().map(|found| found.line).collect();
    assert_eq!(lines, [3, 4]);
}

#[test]
fn a_module_of_the_same_layer_and_a_super_that_climbs_out_are_refused() {
    let refused = |source: &str| {
        let found = references_of(source);
        found.iter().filter_map(|reference| layer_violation("edge", 4, reference)).count()
    };
    assert_eq!(refused("use crate::edge::x; use crate::links::Table; use crate::metrics;"), 0);
    assert_eq!(refused("use crate::shipper::x;"), 1);
    assert_eq!(refused("fn f() { crate::server::run() }"), 1);
    assert_eq!(refused("use super::super::x;"), 1);
    let climbs = find_references(&parse_source("edge.rs", "use super::x; mod tests { use super::*; }"));
    assert_eq!(climbs.iter().filter(|reference| layer_violation("edge", 4, reference).is_some()).count(), 1);
}

#[test]
fn circles_are_found_through_parents_and_re_exports_and_not_through_what_names_nothing() {
    let circles = |files: &[(&str, &str)]| {
        let files: Vec<SourceFile> = files.iter().map(|(name, source)| parse_source(name, source)).collect();
        find_circles(&find_dependencies(&files)).iter().map(Vec::len).collect::<Vec<usize>>()
    };
    let parent = "mod a; mod b; pub use a::A; pub struct Own;";
    assert_eq!(circles(&[("m/mod.rs", parent), ("m/a.rs", "use super::Own; pub struct A;"), ("m/b.rs", "")]), []);
    assert_eq!(circles(&[("m/mod.rs", parent), ("m/a.rs", "pub struct A;"), ("m/b.rs", "use super::A;")]), []);
    let uses_child = "mod a; pub use a::A; pub struct Own; fn f() -> A { A }";
    assert_eq!(circles(&[("m/mod.rs", uses_child), ("m/a.rs", "use super::Own; pub struct A;")]), [2]);
    let through_re_export = "use super::A; pub struct B;";
    assert_eq!(
        circles(&[
            ("m/mod.rs", parent),
            ("m/a.rs", "fn f(b: super::b::B) {} pub struct A;"),
            ("m/b.rs", through_re_export)
        ]),
        [2]
    );
    let chain = [
        ("m/mod.rs", "mod a; mod b; mod c;"),
        ("m/a.rs", "use super::b::B;"),
        ("m/b.rs", "use super::c::C;"),
        ("m/c.rs", "use crate::m::a::A;"),
    ];
    assert_eq!(circles(&chain), [3]);
    let in_tests = "#[cfg(test)] mod tests { use super::super::b::B; } pub struct A; fn f(b: u8) { b.g() }";
    assert_eq!(circles(&[("m/mod.rs", "mod a; mod b;"), ("m/a.rs", in_tests), ("m/b.rs", "use super::a::A;")]), []);
}

#[test]
fn unused_items_are_found_behind_each_other_and_in_tests_alone() {
    let unused = |source: &str| {
        let main = SourceFile { module: Vec::new(), ..parse_source("main.rs", "fn main() { waypost::m::run() }") };
        find_unused(&[parse_source("m.rs", source), main])
            .iter()
            .map(|place| place.split('`').nth(1).unwrap().to_owned())
            .collect::<Vec<String>>()
    };
    let source = "
        pub fn run() { used(); let _ = Kind::One; match x { Kind::Two => {} _ => {} } serve(&S) }
        fn used() { S.method() }
        pub fn unused() { behind() }
        pub fn behind() {}
        pub fn tested() {}
        pub enum Kind { One, Two }
        pub struct S;
        impl S { pub fn method(&self) {} pub fn lonely(&self) { self.lonely() } pub const LIMIT: usize = 1; }
        pub struct Nowhere;
        impl Nowhere { pub fn run() -> Nowhere { Nowhere } }
        impl Default for Nowhere { fn default() -> Nowhere { Nowhere } }
        pub trait Serve { fn serve(&self); fn never(&self); }
        impl Serve for S { fn serve(&self) {} fn never(&self) {} }
        fn serve(served: &impl Serve) { served.serve() }
        #[serde(default = \"named_in_text\")] struct T;
        pub fn named_in_text() {}
        #[cfg(test)] mod tests { use super::*; fn test() { tested() } }
    ";
    let expected =
        ["behind", "Kind::Two", "Nowhere", "Nowhere::run", "S::LIMIT", "S::lonely", "Serve::never", "tested", "unused"];
    let found: BTreeSet<String> = unused(source).into_iter().collect();
    assert_eq!(found, expected.map(str::to_owned).into_iter().chain(["named_in_text".to_owned()]).collect());
    assert_eq!(unused("pub fn run() { let _: T; } #[serde(default = \"text\")] struct T; pub fn text() {}"), [""; 0]);
}

//! The paths that a file mentions, each as a path from the crate's root. A path inside a macro's arguments counts where
//! it begins with `crate`, `self`, `super` or a name that the file imports.

use std::collections::HashMap;

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::{
    Item, ItemMod, ItemUse, Macro, Path, UseTree, VisRestricted, Visibility,
    visit::{self, Visit},
};

use crate::tree::{SourceFile, is_compiled_for_tests_only};

/// A mention of something in this crate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reference {
    pub(crate) line: usize,
    /// The module that holds the mention.
    pub(crate) from: Vec<String>,
    /// From the crate's root: `["net", "tls", "Handshake"]`. Empty: the root itself, or more `super` than there are
    /// modules.
    pub(crate) path: Vec<String>,
    /// How many leading `super` the source has.
    pub(crate) supers: usize,
    pub(crate) kind: Kind,
    /// The source has one word, which may also be a local variable.
    pub(crate) is_single_word: bool,
    /// Only a test build compiles the mention.
    pub(crate) is_test: bool,
}

/// What a mention is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// In an expression, a type, a pattern, or the arguments of a macro.
    Path,
    /// A private `use`.
    Import,
    /// A `pub use` of any visibility: the file offers a name, and uses it only where another mention says so.
    ReExport,
    /// `pub(super)` or `pub(in …)`.
    Visibility,
}

/// The names that `use` declarations bring into the modules of a file: module path and name → path from the crate's
/// root.
pub(crate) type Imports = HashMap<(Vec<String>, String), Vec<String>>;

/// Finds every mention of this crate's own modules and items in a file.
pub(crate) fn find_references(file: &SourceFile) -> Vec<Reference> {
    let mut finder = Finder::new(file.module.clone(), file.is_test);
    finder.collect_imports(&file.syntax.items, &file.module);
    finder.visit_file(&file.syntax);
    finder.found
}

/// The names that a file's `pub use` and `use` declarations bring into its modules.
pub(crate) fn find_imports(file: &SourceFile) -> Imports {
    let mut finder = Finder::new(file.module.clone(), file.is_test);
    finder.collect_imports(&file.syntax.items, &file.module);
    finder.imports
}

struct Finder {
    module: Vec<String>,
    is_test: bool,
    imports: Imports,
    found: Vec<Reference>,
}

impl Finder {
    fn new(module: Vec<String>, is_test: bool) -> Finder {
        Finder { module, is_test, imports: Imports::new(), found: Vec::new() }
    }

    /// Child modules count as imports too: `tls::Handshake` in `net/mod.rs` is `crate::net::tls::Handshake`.
    fn collect_imports(&mut self, items: &[Item], module: &[String]) {
        for item in items {
            match item {
                Item::Use(item) if item.leading_colon.is_none() => {
                    for used in use_paths(&item.tree) {
                        if let Some(absolute) = self.absolute(&used.path, module) {
                            self.imports.insert((module.to_vec(), used.name), absolute);
                        }
                    }
                }
                Item::Mod(item) => {
                    let child = [module, &[item.ident.to_string()]].concat();
                    self.imports.insert((module.to_vec(), item.ident.to_string()), child.clone());
                    if let Some((_, items)) = &item.content {
                        self.collect_imports(items, &child);
                    }
                }
                _ => {}
            }
        }
    }

    /// The path from the crate's root; `None` for a path into another crate, a local name or a type parameter.
    fn absolute(&self, path: &[String], module: &[String]) -> Option<Vec<String>> {
        let supers = count_supers(path);
        let (from, rest) = match path.first()?.as_str() {
            "crate" => (Vec::new(), &path[1..]),
            "self" if supers == 0 => (module.to_vec(), &path[1..]),
            "self" | "super" => {
                let rest = path.iter().skip_while(|word| *word == "self" || *word == "super").count();
                (module[..module.len().saturating_sub(supers)].to_vec(), &path[path.len() - rest..])
            }
            first => (self.imports.get(&(module.to_vec(), first.to_owned()))?.clone(), &path[1..]),
        };
        Some([&from, rest].concat())
    }

    fn add(&mut self, path: &[String], line: usize, kind: Kind) {
        if let Some(absolute) = self.absolute(path, &self.module) {
            self.found.push(Reference {
                line,
                from: self.module.clone(),
                path: absolute,
                supers: count_supers(path),
                kind,
                is_single_word: path.len() == 1,
                is_test: self.is_test,
            });
        }
    }

    fn add_paths_of_tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is_colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(sign)) if sign.as_char() == ':');
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.add_paths_of_tokens(group.stream()),
                TokenTree::Ident(first) => {
                    let mut path = vec![first.to_string()];
                    while is_colon(at + 1)
                        && is_colon(at + 2)
                        && let Some(TokenTree::Ident(next)) = tokens.get(at + 3)
                    {
                        path.push(next.to_string());
                        at += 3;
                    }
                    // `crate` alone stands in `pub(crate)`.
                    if path != ["crate"] {
                        self.add(&path, first.span().start().line, Kind::Path);
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item(&mut self, item: &'ast Item) {
        let outer = self.is_test;
        self.is_test |= is_compiled_for_tests_only(attributes(item));
        visit::visit_item(self, item);
        self.is_test = outer;
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.visit_visibility(&item.vis);
        if item.leading_colon.is_some() {
            return;
        }
        let kind = match item.vis {
            Visibility::Inherited => Kind::Import,
            _ => Kind::ReExport,
        };
        for used in use_paths(&item.tree) {
            self.add(&used.path, used.line, kind);
        }
    }

    fn visit_vis_restricted(&mut self, visibility: &'ast VisRestricted) {
        let words = words(&visibility.path);
        if words != ["crate"] {
            self.add(&words, visibility.pub_token.span.start().line, Kind::Visibility);
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if path.leading_colon.is_none() {
            self.add(&words(path), path.segments[0].ident.span().start().line, Kind::Path);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast Macro) {
        self.visit_path(&invocation.path);
        self.add_paths_of_tokens(invocation.tokens.clone());
    }
}

fn words(path: &Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

fn count_supers(path: &[String]) -> usize {
    path.iter().skip_while(|word| *word == "self").take_while(|word| *word == "super").count()
}

/// A path of a `use` declaration.
pub(crate) struct UsedPath {
    /// As written; a glob ends in `*`.
    pub(crate) path: Vec<String>,
    /// The name that the declaration gives to it.
    pub(crate) name: String,
    pub(crate) line: usize,
}

/// Every path that a `use` declaration names.
pub(crate) fn use_paths(tree: &UseTree) -> Vec<UsedPath> {
    let end = |identifier: &Ident, name: &Ident| UsedPath {
        path: vec![identifier.to_string()],
        name: name.to_string(),
        line: identifier.span().start().line,
    };
    match tree {
        UseTree::Name(leaf) => vec![end(&leaf.ident, &leaf.ident)],
        UseTree::Rename(leaf) => vec![end(&leaf.ident, &leaf.rename)],
        UseTree::Glob(glob) => {
            vec![UsedPath { path: vec!["*".into()], name: "*".into(), line: glob.star_token.spans[0].start().line }]
        }
        UseTree::Group(group) => group.items.iter().flat_map(use_paths).collect(),
        UseTree::Path(step) => {
            let mut paths = use_paths(&step.tree);
            let first = step.ident.to_string();
            for used in &mut paths {
                // `x::{self}` is `x`.
                if used.path == ["self"] {
                    used.path.clear();
                    if used.name == "self" {
                        used.name.clone_from(&first);
                    }
                }
                used.path.insert(0, first.clone());
            }
            paths
        }
    }
}

/// The attributes of an item of any kind that this crate has.
pub(crate) fn attributes(item: &Item) -> &[syn::Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

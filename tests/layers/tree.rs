//! The source tree as syntax trees: every file below `src`, the module it holds, and whether only tests compile it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::{Attribute, Item, Meta};

/// A file below `src`.
pub(crate) struct SourceFile {
    /// Its path below `src`, such as `net/tls/mod.rs`.
    pub(crate) name: String,
    /// The path of the module that it holds: `["net", "tls"]`; empty for `lib.rs` and `main.rs`.
    pub(crate) module: Vec<String>,
    /// Only a test build or a fuzzing build compiles it.
    pub(crate) is_test: bool,
    pub(crate) tokens: TokenStream,
    pub(crate) syntax: syn::File,
}

pub(crate) fn repository_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads `lib.rs`, every file that it declares through any chain of `mod`, and `main.rs`.
pub(crate) fn read_source_files() -> Vec<SourceFile> {
    let mut files = Vec::new();
    read_module("lib.rs", Vec::new(), false, &mut files);
    files.push(read_file("main.rs", Vec::new(), false));
    files
}

fn read_file(name: &str, module: Vec<String>, is_test: bool) -> SourceFile {
    let path = repository_root().join("src").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parse(name, module, is_test, &text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse(name: &str, module: Vec<String>, is_test: bool, text: &str) -> syn::Result<SourceFile> {
    let tokens: TokenStream = text.parse()?;
    Ok(SourceFile { name: name.to_owned(), module, is_test, syntax: syn::parse2(tokens.clone())?, tokens })
}

/// A file that exists in a test alone; its module follows from its name.
pub(crate) fn parse_source(name: &str, source: &str) -> SourceFile {
    let words = name.trim_end_matches(".rs").split('/').filter(|word| *word != "mod");
    let module = words.map(str::to_owned).collect();
    parse(name, module, false, source).unwrap()
}

fn read_module(name: &str, module: Vec<String>, is_test: bool, files: &mut Vec<SourceFile>) {
    let file = read_file(name, module, is_test);
    let mut children = Vec::new();
    find_child_files(&file.syntax.items, &file.module, is_test, &mut children);
    files.push(file);
    for (module, is_test) in children {
        let stem = module.join("/");
        let candidates = [format!("{stem}.rs"), format!("{stem}/mod.rs")];
        let exists = |name: &&String| repository_root().join("src").join(name).exists();
        let name = candidates.iter().find(exists).unwrap_or_else(|| panic!("no file for `mod {stem}`"));
        read_module(name, module, is_test, files);
    }
}

fn find_child_files(items: &[Item], module: &[String], is_test: bool, children: &mut Vec<(Vec<String>, bool)>) {
    for item in items {
        let Item::Mod(child) = item else { continue };
        let path = [module, &[child.ident.to_string()]].concat();
        let is_test = is_test || is_compiled_for_tests_only(&child.attrs);
        match &child.content {
            Some((_, items)) => find_child_files(items, &path, is_test, children),
            None => children.push((path, is_test)),
        }
    }
}

/// Whether the attributes hold `#[cfg(test)]`, `#[cfg(fuzzing)]` or both in `any(…)`.
pub(crate) fn is_compiled_for_tests_only(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).any(|attribute| {
        let Meta::List(list) = &attribute.meta else { return false };
        let words = identifiers(&list.tokens);
        !words.is_empty()
            && words.iter().all(|word| ["test", "fuzzing", "any", "all"].iter().any(|allowed| word == allowed))
    })
}

/// Every identifier of a stream in its order, those in groups included.
pub(crate) fn identifiers(tokens: &TokenStream) -> Vec<Ident> {
    let mut found = Vec::new();
    for token in tokens.clone() {
        match token {
            TokenTree::Ident(identifier) => found.push(identifier),
            TokenTree::Group(group) => found.extend(identifiers(&group.stream())),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    found
}

/// Every `.rs` file below a folder of the repository, by its path from the repository's root.
pub(crate) fn rust_files_below(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(repository_root().join(&folder)).unwrap() {
            let name = entry.unwrap().file_name();
            let path = folder.join(name);
            if repository_root().join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

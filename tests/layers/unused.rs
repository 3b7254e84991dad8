//! Items that no code of the product uses. An item is used if `main.rs` mentions its name or a used item does; the
//! methods of an `impl` of a trait count with their type. Names alone decide, so an unused item that shares its name
//! with a used one of the same sort is not found. `use` declarations, documentation and code for tests mention nothing.

use std::collections::{BTreeSet, HashSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Expr, ExprMethodCall, Field, Ident, ImplItem, Item, ItemEnum, ItemImpl, ItemTrait, Macro, Pat, Path,
    TraitItem, Type, Variant, Visibility,
    visit::{self, Visit},
};

use crate::{
    references::{attributes, use_paths},
    tree::{SourceFile, identifiers, is_compiled_for_tests_only},
};

/// How an item is mentioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Sort {
    /// A function, type, constant, trait or macro: any word of a path.
    Item,
    /// An associated function, constant or type: `.name(`, or a word behind `::`.
    Associated,
    /// A variant of an enum: a word behind `::` in what is no pattern.
    Variant,
}

type Name = (Sort, String);

/// An item of the source tree.
#[derive(Debug)]
struct Unit {
    /// `None`: an item of `main.rs` or the `impl` of a trait, which needs no mention.
    name: Option<Name>,
    /// All of these are used before this is.
    owners: Vec<String>,
    mentions: HashSet<Name>,
    /// `src/file:line: what it is`
    place: String,
    /// The compiler does not tell that it is unused.
    is_visible: bool,
}

/// Finds every public item, trait method and enum variant that no code of the product uses.
pub(crate) fn find_unused(files: &[SourceFile]) -> Vec<String> {
    let mut units = Vec::new();
    for file in files.iter().filter(|file| !file.is_test) {
        let first = units.len();
        collect(&file.syntax.items, file, &mut units);
        if file.name == "main.rs" {
            units[first..].iter_mut().for_each(|unit| unit.name = None);
        }
    }
    let defined: HashSet<String> = units
        .iter()
        .filter_map(|unit| unit.name.clone())
        .filter(|(sort, _)| *sort == Sort::Item)
        .map(|(_, name)| name)
        .collect();
    let mut used: HashSet<Name> = HashSet::new();
    let mut is_used = vec![false; units.len()];
    loop {
        let before = used.len();
        for (unit, is_used) in units.iter().zip(&mut is_used).filter(|(_, is_used)| !**is_used) {
            let owned = |owner: &String| !defined.contains(owner) || used.contains(&(Sort::Item, owner.clone()));
            if unit.name.as_ref().is_none_or(|name| used.contains(name)) && unit.owners.iter().all(owned) {
                *is_used = true;
                used.extend(unit.mentions.iter().cloned());
            }
        }
        if used.len() == before {
            break;
        }
    }
    let unused = units.iter().zip(is_used).filter(|(unit, is_used)| !is_used && unit.is_visible && unit.name.is_some());
    unused.map(|(unit, _)| unit.place.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

fn collect(items: &[Item], file: &SourceFile, units: &mut Vec<Unit>) {
    for item in items.iter().filter(|item| !is_compiled_for_tests_only(attributes(item))) {
        let mut named = |sort: &str, ident: &Ident, visibility: &Visibility, mentions: Mentions| {
            units.push(unit(file, sort, Sort::Item, ident, visibility, Vec::new(), mentions));
        };
        match item {
            Item::Fn(item) => {
                named("function", &item.sig.ident, &item.vis, Mentions::of(|found| found.visit_item_fn(item)))
            }
            Item::Struct(item) => {
                named("struct", &item.ident, &item.vis, Mentions::of(|found| found.visit_item_struct(item)))
            }
            Item::Const(item) => {
                named("constant", &item.ident, &item.vis, Mentions::of(|found| found.visit_item_const(item)))
            }
            Item::Static(item) => {
                named("static", &item.ident, &item.vis, Mentions::of(|found| found.visit_item_static(item)))
            }
            Item::Type(item) => {
                named("type", &item.ident, &item.vis, Mentions::of(|found| found.visit_item_type(item)))
            }
            Item::Enum(item) => {
                named("enum", &item.ident, &item.vis, Mentions::of(|found| found.visit_item_enum(item)));
                for variant in item.variants.iter().filter(|variant| !is_built_by_derive(item, variant)) {
                    let mentions = Mentions::default();
                    let name = item.ident.to_string();
                    units.push(unit(file, "variant", Sort::Variant, &variant.ident, &item.vis, vec![name], mentions));
                }
            }
            Item::Macro(item) => {
                if let Some(ident) = &item.ident {
                    named(
                        "macro",
                        ident,
                        &Visibility::Inherited,
                        Mentions::of(|found| found.add_tokens(item.mac.tokens.clone())),
                    );
                } else {
                    let mentions = Mentions::of(|found| found.visit_macro(&item.mac));
                    units.push(unnamed(Vec::new(), mentions));
                }
            }
            Item::Trait(item) => {
                named("trait", &item.ident, &item.vis, Mentions::of(|found| found.visit_generics(&item.generics)));
                collect_trait(item, file, units);
            }
            Item::Impl(item) => collect_impl(item, file, units),
            Item::Mod(item) => {
                if let Some((_, items)) = &item.content {
                    collect(items, file, units);
                }
            }
            // A renaming makes a name of its own.
            Item::Use(item) => {
                for used in use_paths(&item.tree) {
                    let original = used.path.last().cloned().unwrap_or_default();
                    if used.name != original && used.name != "_" && used.name != "*" {
                        let mut mentions = Mentions::default();
                        mentions.add_anywhere(original);
                        units.push(Unit { name: Some((Sort::Item, used.name)), ..unnamed(Vec::new(), mentions) });
                    }
                }
            }
            _ => {}
        }
    }
}

/// The derives that build every variant of an enum from what they read.
const BUILDING_DERIVES: &[&str] = &["Deserialize", "ValueEnum", "Subcommand"];

fn is_built_by_derive(item: &ItemEnum, variant: &Variant) -> bool {
    let derives = item.attrs.iter().filter(|attribute| attribute.path().is_ident("derive"));
    let mut names =
        derives.filter_map(|derive| derive.meta.require_list().ok()).flat_map(|list| identifiers(&list.tokens));
    let is_from = |field: &Field| field.attrs.iter().any(|attribute| attribute.path().is_ident("from"));
    names.any(|name| BUILDING_DERIVES.iter().any(|derive| name == derive))
        || variant.fields.iter().any(is_from)
        || is_compiled_for_tests_only(&variant.attrs)
}

fn unit(
    file: &SourceFile,
    what: &str,
    sort: Sort,
    ident: &Ident,
    visibility: &Visibility,
    owners: Vec<String>,
    mentions: Mentions,
) -> Unit {
    let prefix: String = owners.iter().map(|owner| format!("{owner}::")).collect();
    Unit {
        name: Some((sort, ident.to_string())),
        place: format!("src/{}:{}: {what} `{prefix}{ident}`", file.name, ident.span().start().line),
        is_visible: !matches!(visibility, Visibility::Inherited),
        owners,
        mentions: mentions.found,
    }
}

fn unnamed(owners: Vec<String>, mentions: Mentions) -> Unit {
    Unit { name: None, owners, mentions: mentions.found, place: String::new(), is_visible: false }
}

/// The methods of a trait are as visible as the trait; the compiler tells none of them.
fn collect_trait(item: &ItemTrait, file: &SourceFile, units: &mut Vec<Unit>) {
    let owners = || vec![item.ident.to_string()];
    for member in &item.items {
        match member {
            TraitItem::Fn(method) => {
                let mentions = Mentions::of(|found| found.visit_trait_item_fn(method));
                units.push(unit(file, "method", Sort::Associated, &method.sig.ident, &item.vis, owners(), mentions));
            }
            other => units.push(unnamed(owners(), Mentions::of(|found| found.visit_trait_item(other)))),
        }
    }
}

fn collect_impl(item: &ItemImpl, file: &SourceFile, units: &mut Vec<Unit>) {
    let owner = match &*item.self_ty {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        _ => None,
    };
    let mut owners: Vec<String> = owner.into_iter().collect();
    let head = |found: &mut Mentions| found.visit_generics(&item.generics);
    if let Some((path, _)) = &item.trait_ {
        owners.extend(path.segments.last().map(|segment| segment.ident.to_string()));
        let mentions = Mentions::of(|found| {
            head(found);
            item.items.iter().for_each(|member| found.visit_impl_item(member));
            path.segments.iter().for_each(|segment| found.visit_path_arguments(&segment.arguments));
        });
        units.push(unnamed(owners, mentions));
        return;
    }
    for member in item.items.iter().filter(|member| !is_compiled_for_tests_only(member_attributes(member))) {
        let mentions = Mentions::of(|found| {
            head(found);
            found.visit_impl_item(member);
        });
        let (what, ident, visibility) = match member {
            ImplItem::Fn(method) => ("method", &method.sig.ident, &method.vis),
            ImplItem::Const(constant) => ("constant", &constant.ident, &constant.vis),
            _ => {
                units.push(unnamed(owners.clone(), mentions));
                continue;
            }
        };
        units.push(unit(file, what, Sort::Associated, ident, visibility, owners.clone(), mentions));
    }
}

fn member_attributes(member: &ImplItem) -> &[Attribute] {
    match member {
        ImplItem::Fn(member) => &member.attrs,
        ImplItem::Const(member) => &member.attrs,
        _ => &[],
    }
}

/// The names that some code mentions.
#[derive(Default)]
struct Mentions {
    found: HashSet<Name>,
    is_in_pattern: bool,
}

impl Mentions {
    fn of(visit: impl FnOnce(&mut Mentions)) -> Mentions {
        let mut mentions = Mentions::default();
        visit(&mut mentions);
        mentions
    }

    /// What is read from a macro's arguments may be of any sort.
    fn add_anywhere(&mut self, name: String) {
        self.found.extend([Sort::Item, Sort::Associated, Sort::Variant].map(|sort| (sort, name.clone())));
    }

    /// Words, and the words in string literals: `#[serde(default = "default_port")]`.
    fn add_tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => self.add_anywhere(ident.to_string()),
                TokenTree::Group(group) => self.add_tokens(group.stream()),
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    let words = text.split(|sign: char| sign != '_' && !sign.is_alphanumeric());
                    words.filter(|word| !word.is_empty()).for_each(|word| self.add_anywhere(word.to_owned()));
                }
                TokenTree::Punct(_) => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Mentions {
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if !attribute.path().is_ident("doc")
            && let Ok(list) = attribute.meta.require_list()
        {
            self.add_tokens(list.tokens.clone());
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        for (position, segment) in path.segments.iter().enumerate() {
            let name = segment.ident.to_string();
            if position > 0 {
                self.found.insert((Sort::Associated, name.clone()));
                if !self.is_in_pattern {
                    self.found.insert((Sort::Variant, name.clone()));
                }
            }
            self.found.insert((Sort::Item, name));
        }
        visit::visit_path(self, path);
    }

    fn visit_pat(&mut self, pattern: &'ast Pat) {
        let outer = std::mem::replace(&mut self.is_in_pattern, true);
        visit::visit_pat(self, pattern);
        self.is_in_pattern = outer;
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        let outer = std::mem::replace(&mut self.is_in_pattern, false);
        visit::visit_expr(self, expression);
        self.is_in_pattern = outer;
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        self.found.insert((Sort::Associated, call.method.to_string()));
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, invocation: &'ast Macro) {
        self.visit_path(&invocation.path);
        self.add_tokens(invocation.tokens.clone());
    }

    /// In a body, `use Direction::*` brings variants in.
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        use_paths(&item.tree).into_iter().flat_map(|used| used.path).for_each(|word| self.add_anywhere(word));
    }
}

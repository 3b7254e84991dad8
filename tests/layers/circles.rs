//! Circles of files inside a top module. File A depends on file B if code of A names an item that B defines. These name
//! nothing: `mod child;`, a `pub use` whose name the file itself does not mention, `pub(super)`, and code for tests.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use crate::{
    references::{Imports, Kind, find_imports, find_references},
    tree::SourceFile,
};

/// A step of a circle.
pub(crate) struct Step {
    pub(crate) file: String,
    pub(crate) line: usize,
    /// The path that `line` mentions.
    pub(crate) mentions: String,
}

/// For each file, the files that it depends on, with the first mention of each.
pub(crate) type Dependencies = BTreeMap<String, BTreeMap<String, (usize, String)>>;

/// Finds which file of a top module depends on which other file of the same top module.
pub(crate) fn find_dependencies(files: &[SourceFile]) -> Dependencies {
    let modules: HashMap<&[String], &str> = files
        .iter()
        .filter(|file| file.name != "main.rs")
        .map(|file| (file.module.as_slice(), file.name.as_str()))
        .collect();
    let imports: Imports = files.iter().filter(|file| file.name != "main.rs").flat_map(find_imports).collect();
    let mut dependencies = Dependencies::new();
    for file in files.iter().filter(|file| !file.is_test) {
        for reference in find_references(file) {
            let counts = matches!(reference.kind, Kind::Path | Kind::Import) && !reference.is_test;
            // A single word that is a module's name is a variable: a module alone is no expression and no type.
            let is_variable = reference.is_single_word && modules.contains_key(reference.path.as_slice());
            let same_top = reference.path.first() == file.module.first();
            if !counts || (is_variable && reference.kind == Kind::Path) || !same_top {
                continue;
            }
            if let Some(target) = defining_file(&reference.path, &modules, &imports)
                && target != file.name
            {
                let mention = (reference.line, reference.path.join("::"));
                dependencies.entry(file.name.clone()).or_default().entry(target.to_owned()).or_insert(mention);
            }
        }
    }
    dependencies
}

/// The file of the deepest module on the path; a re-exported name counts where it is defined.
fn defining_file<'a>(path: &[String], modules: &HashMap<&[String], &'a str>, imports: &Imports) -> Option<&'a str> {
    let mut path = path.to_vec();
    let mut seen = HashSet::new();
    loop {
        let depth = (0..=path.len()).rev().find(|depth| modules.contains_key(&path[..*depth]))?;
        let re_exported = path.get(depth).and_then(|name| imports.get(&(path[..depth].to_vec(), name.clone())));
        match re_exported {
            Some(defined) if seen.insert(path.clone()) => path = [&defined[..], &path[depth + 1..]].concat(),
            _ => return modules.get(&path[..depth]).copied(),
        }
    }
}

/// The shortest circle through each file that is on one; each circle is listed once.
pub(crate) fn find_circles(dependencies: &Dependencies) -> Vec<Vec<Step>> {
    let mut listed: BTreeSet<BTreeSet<&str>> = BTreeSet::new();
    let mut circles = Vec::new();
    for start in dependencies.keys() {
        if let Some(circle) = shortest_circle(start, dependencies)
            && listed.insert(circle.iter().copied().collect())
        {
            let steps = circle.iter().zip(circle.iter().cycle().skip(1)).map(|(file, next)| {
                let (line, mentions) = &dependencies[*file][*next];
                Step { file: (*file).to_owned(), line: *line, mentions: mentions.clone() }
            });
            circles.push(steps.collect());
        }
    }
    circles
}

fn shortest_circle<'a>(start: &'a str, dependencies: &'a Dependencies) -> Option<Vec<&'a str>> {
    let mut came_from: HashMap<&str, &str> = HashMap::new();
    let mut waiting = VecDeque::from([start]);
    while let Some(file) = waiting.pop_front() {
        for next in dependencies.get(file).into_iter().flatten().map(|(next, _)| next.as_str()) {
            if next == start {
                let mut circle = vec![file];
                while *circle.last()? != start {
                    circle.push(came_from[circle.last()?]);
                }
                circle.reverse();
                return Some(circle);
            }
            if !came_from.contains_key(next) {
                came_from.insert(next, file);
                waiting.push_back(next);
            }
        }
    }
    None
}

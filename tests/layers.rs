//! The floors of the house, checked on the tokens of every source file: a module imports only from strictly lower floors.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test, its helpers included")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The floors, the highest first, as `src/lib.rs` draws them.
const FLOORS: &[(u8, &[&str])] = &[
    (8, &["cli", "fuzzing"]),
    (7, &["server"]),
    (6, &["config"]),
    (5, &["admin"]),
    (4, &["edge", "shipper"]),
    (3, &["links", "attribution", "client"]),
    (2, &["model"]),
    (1, &["journal", "net", "kafka"]),
    (0, &["metrics", "faults", "lifecycle", "watch", "clock", "size"]),
];

/// The only file in which the word `unsafe` may stand.
const UNSAFE: &str = "journal/ring.rs";

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, modules)| modules.contains(&module)).map(|(floor, _)| *floor)
}

/// A token and its line.
type Token = (usize, String);

/// The tokens that matter: words, `::`, and single signs. Comments, strings, characters and lifetimes are dropped.
fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    let word = |c: char| c.is_alphanumeric() || c == '_';
    while at < chars.len() {
        let c = chars[at];
        let rest = &chars[at..];
        let start = at;
        if rest.starts_with(&['/', '/']) {
            at += rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
        } else if rest.starts_with(&['/', '*']) {
            let mut depth = 0;
            loop {
                match &chars[at.min(chars.len())..] {
                    ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
                    ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
                    [] => break,
                    _ => at += 1,
                }
                if depth == 0 {
                    break;
                }
            }
        } else if let Some(hashes) = raw_string(rest) {
            let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            at += rest.iter().position(|c| *c == '"').unwrap() + 1;
            while at < chars.len() && !chars[at..].starts_with(&end) {
                at += 1;
            }
            at += end.len();
        } else if c == '"' {
            at += 1;
            while at < chars.len() && chars[at] != '"' {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if c == '\'' {
            // A character ends in a quote; a lifetime does not.
            at += match rest {
                ['\'', '\\', ..] => 2 + rest[3..].iter().position(|c| *c == '\'').unwrap() + 2,
                ['\'', _, '\'', ..] => 3,
                _ => 1 + rest[1..].iter().position(|c| !word(*c)).unwrap_or(rest.len() - 1),
            };
        } else if word(c) {
            at += rest.iter().position(|c| !word(*c)).unwrap_or(rest.len());
            tokens.push((line, rest[..at - start].iter().collect()));
        } else if rest.starts_with(&[':', ':']) {
            tokens.push((line, "::".to_owned()));
            at += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push((line, c.to_string()));
            }
            at += 1;
        }
        line += chars[start..at.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// The number of hashes, if a raw string (`r"`, `br#"`, `cr##"`) begins here.
fn raw_string(rest: &[char]) -> Option<usize> {
    let prefix = match rest {
        ['r', ..] => 1,
        ['b' | 'c', 'r', ..] => 2,
        _ => return None,
    };
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    (rest.get(prefix + hashes) == Some(&'"')).then_some(hashes)
}

/// The top modules that `crate::x` and `crate::{x, …}` name, with their lines. `*` stands for a glob.
fn imports(tokens: &[Token]) -> Vec<(usize, String)> {
    let text = |at: usize| tokens.get(at).map_or("", |(_, text)| text.as_str());
    let mut found = Vec::new();
    for (at, (line, token)) in tokens.iter().enumerate() {
        if token != "crate" || text(at + 1) != "::" {
            // `pub(crate)` is no path; `use crate as x` would hide one.
            if token == "crate" && text(at + 1) == "as" {
                found.push((*line, "*".to_owned()));
            }
            continue;
        }
        if text(at + 2) != "{" {
            found.push((*line, text(at + 2).to_owned()));
            continue;
        }
        let (mut depth, mut next) = (1, at + 3);
        let mut begins = true;
        while depth > 0 && next < tokens.len() {
            match text(next) {
                "{" => depth += 1,
                "}" => depth -= 1,
                "," => begins = depth == 1,
                name => {
                    if begins && depth == 1 {
                        found.push((tokens[next].0, name.to_owned()));
                    }
                    begins = false;
                }
            }
            next += 1;
        }
    }
    found
}

/// The lines on which `super` leaves the top module, or stands twice.
fn climbs(tokens: &[Token], depth_of_file: usize) -> Vec<usize> {
    let text = |at: usize| tokens.get(at).map_or("", |(_, text)| text.as_str());
    let (mut braces, mut inline, mut found) = (0, Vec::new(), Vec::new());
    for (at, (line, token)) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" => {
                braces += 1;
                if at >= 2 && text(at - 2) == "mod" {
                    inline.push(braces);
                }
            }
            "}" => {
                if inline.last() == Some(&braces) {
                    inline.pop();
                }
                braces -= 1;
            }
            "super" => {
                let twice = text(at + 1) == "::" && text(at + 2) == "super";
                if twice || depth_of_file + inline.len() <= 1 {
                    found.push(*line);
                }
            }
            _ => {}
        }
    }
    found
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// A source file.
struct Source {
    /// Its path below `src`.
    file: String,
    /// The top module it belongs to.
    module: String,
    /// 1 for a top module's own file, 2 for a module in it.
    depth: usize,
    tokens: Vec<Token>,
}

fn house() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    paths.sort();
    let source = |path: PathBuf| {
        let file = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let parts: Vec<&str> = file.trim_end_matches(".rs").split('/').filter(|part| *part != "mod").collect();
        let (module, depth) = (parts[0].to_owned(), parts.len());
        Source { file, module, depth, tokens: tokens(&fs::read_to_string(&path).unwrap()) }
    };
    paths.into_iter().map(source).collect()
}

#[test]
fn every_module_imports_only_from_strictly_lower_floors() {
    let mut wrong = Vec::new();
    for Source { file, module, depth, tokens } in house() {
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let Some(own) = floor(&module) else {
            wrong.push(format!("src/{file}: module `{module}` has no floor in tests/layers.rs"));
            continue;
        };
        for (line, name) in imports(&tokens) {
            let good = name == module || floor(&name).is_some_and(|other| other < own);
            if !good {
                wrong.push(format!("src/{file}:{line}: `{module}` (floor {own}) may not import `{name}`"));
            }
        }
        for line in climbs(&tokens, depth) {
            wrong.push(format!("src/{file}:{line}: `super` leaves the module: write crate::…"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_root_declares_modules_and_re_exports_nothing() {
    let files = house();
    let tokens = &files.iter().find(|source| source.file == "lib.rs").unwrap().tokens;
    assert!(tokens.iter().all(|(_, token)| token != "use"), "src/lib.rs must not `use` anything");
    let declared: BTreeSet<&str> =
        tokens.windows(2).filter(|pair| pair[0].1 == "mod").map(|pair| pair[1].1.as_str()).collect();
    let drawn: BTreeSet<&str> = FLOORS.iter().flat_map(|(_, modules)| modules.iter().copied()).collect();
    assert_eq!(declared, drawn, "src/lib.rs and the floors name the same modules");
}

#[test]
fn the_roots_drawing_shows_every_module_on_its_floor() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for (floor, modules) in FLOORS {
        let row = text.lines().find(|line| line.starts_with(&format!("//! {floor}  ")));
        let row = row.unwrap_or_else(|| panic!("no row for floor {floor}"));
        for module in *modules {
            let drawn = row.split(|c: char| !c.is_alphanumeric()).any(|word| word == *module);
            assert!(drawn, "`{module}` is missing in: {row}");
        }
    }
}

#[test]
fn unsafe_stands_in_the_rings_file_alone() {
    for Source { file, tokens, .. } in house() {
        if file != UNSAFE
            && let Some((line, _)) = tokens.iter().find(|(_, token)| token == "unsafe")
        {
            panic!("src/{file}:{line}: unsafe belongs in src/{UNSAFE} alone");
        }
    }
}

#[test]
fn the_check_sees_through_groups_comments_strings_and_lifetimes() {
    let source = r##"
        // use crate::comment;
        /* use crate::block; /* nested */ */
        use crate::{
            alpha::{self, Inner}, beta,
            gamma::Deep as Other,
        };
        pub(crate) fn f<'a>(x: &'a str) -> char { let _ = "crate::string \" more"; let _ = r#"crate::raw""#; '\'' }
        pub(in crate::delta) struct S(char, crate::epsilon::T);
        const C: char = '{';
        use crate as hidden;
    "##;
    let names: Vec<String> = imports(&tokens(source)).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["alpha", "beta", "gamma", "delta", "epsilon", "*"]);
    assert_eq!(imports(&tokens("\n\nuse crate::{a,\n b};")), [(3, "a".to_owned()), (4, "b".to_owned())]);
    assert_eq!(climbs(&tokens("use super::x; mod tests { use super::*; }"), 1), [1]);
    assert_eq!(climbs(&tokens("use super::x;\nuse super::super::y;"), 3), [2]);
    assert_eq!(climbs(&tokens("mod a {\n mod b { use super::x; } } \n use super::z;"), 1), [3]);
}

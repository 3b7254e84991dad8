//! The links file: JSON lines, read all or nothing.
//!
//! 1. Blocks of whole lines are cut off the file, one reader at a time; several threads parse and check them.
//! 2. Each line becomes a link in a fresh table, held against the rules and against the link it replaces.
//! 3. What only the whole can show is checked: codes given twice, codes that moved to another domain, a table that shrank.
//!
//! A mistake anywhere refuses the whole file; the first [`LISTED`] mistakes are listed, all are counted. A blank line is
//! skipped. A last line without a line end counts.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, Seek},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    links::{
        Link, State, Table,
        destination::entry::Rules,
        domains::{DomainId, Domains},
        file::{
            mistakes::{LISTED, LineError, List, LoadError, Mistakes, place},
            source::{Block, Source},
        },
    },
    model::link::{
        LinkFacts,
        record::{Record, RecordError},
    },
    watch::Version,
};

pub mod mistakes;
mod source;

/// The longest line, in bytes.
pub const MAX_LINE: usize = 16 * 1024;
/// How a load stands.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Bytes read so far.
    pub bytes: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

/// What a load needs to know.
pub struct Load<'a> {
    /// The file.
    pub path: &'a Path,
    /// What destinations are held to.
    pub rules: &'a Rules,
    /// Where links may live.
    pub domains: &'a Domains,
    /// The wall's time, milliseconds since the epoch.
    pub now_ms: u64,
    /// The links that are served now, if any: what must not change is held against them.
    pub old: Option<&'a Table>,
    /// Whether the new version may be empty or lose more than a tenth of the live links.
    pub allow_shrink: bool,
    /// How many threads parse; at least one.
    pub threads: usize,
    /// Called after each block, from any of the threads.
    pub progress: &'a (dyn Fn(Progress) + Sync),
}

/// A file that was taken.
pub struct Loaded {
    /// Its links.
    pub table: Table,
    /// How many.
    pub links: u64,
    /// Which version of the file this is.
    pub version: Version,
    /// What is allowed but unusual: the first [`LISTED`], by line.
    pub warnings: Vec<LineError>,
    /// How many warnings there are in all.
    pub warned: u64,
    /// How long reading and building took.
    pub took: Duration,
}

/// Reads the file into a fresh table.
pub fn load(load: &Load<'_>) -> Result<Loaded, LoadError> {
    let started = Instant::now();
    let io_error = |error| LoadError::Io { path: load.path.to_owned(), error };
    let file = File::open(load.path).map_err(io_error)?;
    let version = Version::of(&file.metadata().map_err(io_error)?);
    let mut source = Source::new(&file);
    let first = source.next().map_err(io_error)?;
    let table = Table::with_capacity(first.as_ref().map_or(0, |block| block.expected(version.size())));
    let run = Run { load, version, table, tally: Mutex::default(), links: AtomicU64::new(0) };
    let (first, source) = (Mutex::new(first), Mutex::new(source));
    let read = std::thread::scope(|scope| {
        let worker = || run.work(&first, &source);
        let helpers: Vec<_> = (1..load.threads).map(|_| scope.spawn(worker)).collect();
        let own = worker();
        let joined = helpers.into_iter().map(|helper| match helper.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.fold(own, Result::and)
    });
    read.map_err(io_error)?;
    let after = file.metadata().and_then(|open| Ok((open, std::fs::metadata(load.path)?)));
    let (open, named) = after.map_err(io_error)?;
    if Version::of(&open) != version || Version::of(&named) != version {
        return Err(LoadError::Changed(load.path.to_owned()));
    }
    run.finish(&file, started)
}

/// A load under way, shared by its threads.
struct Run<'a> {
    load: &'a Load<'a>,
    version: Version,
    table: Table,
    tally: Mutex<Tally>,
    links: AtomicU64,
}

/// What the lines said so far.
#[derive(Default)]
struct Tally {
    mistakes: List,
    warnings: List,
    /// Codes that came a second time.
    twice: Vec<(DomainId, Vec<u8>)>,
    /// New links whose code another domain had.
    moved: Vec<Moved>,
}

struct Moved {
    at: LineError,
    from: DomainId,
    code: Vec<u8>,
}

impl Run<'_> {
    /// Works off blocks until there are none.
    fn work(&self, first: &Mutex<Option<Block>>, source: &Mutex<Source<'_>>) -> io::Result<()> {
        loop {
            let taken = locked(first).take();
            let block = match taken {
                Some(block) => block,
                None => match locked(source).next()? {
                    Some(block) => block,
                    None => return Ok(()),
                },
            };
            let mut links = 0;
            for (line, bytes) in block.lines() {
                links += u64::from(self.line(line, bytes));
            }
            self.links.fetch_add(links, Ordering::Relaxed);
            (self.load.progress)(Progress { bytes: block.upto, total: self.version.size() });
        }
    }

    /// Takes one line; says whether it became a link.
    fn line(&self, line: u64, bytes: &[u8]) -> bool {
        if bytes.trim_ascii().is_empty() {
            return false;
        }
        let read = read_line(line, bytes).map_err(|error| vec![error]);
        let link = read.and_then(|record| {
            let at = |errors: Vec<RecordError>| -> Vec<LineError> {
                errors.into_iter().map(|error| place(line, bytes, error)).collect()
            };
            let link =
                Link::new(&record, self.load.rules, self.load.domains, self.load.now_ms, self.version.modified_ms());
            let (link, warnings) = link.map_err(at)?;
            if let Some(old) = self.load.old {
                self.hold_against(old, &link, line, bytes).map_err(at)?;
            }
            if !warnings.is_empty() {
                let mut tally = locked(&self.tally);
                warnings.into_iter().for_each(|warning| tally.warnings.push(place(line, bytes, warning)));
            }
            Ok(link)
        });
        match link {
            Ok(link) => self.table.insert(link).map_err(|link| {
                locked(&self.tally).twice.push((link.domain(), link.code().to_owned()));
            }),
            Err(errors) => {
                let mut tally = locked(&self.tally);
                errors.into_iter().for_each(|error| tally.mistakes.push(error));
                Err(())
            }
        }
        .is_ok()
    }

    /// Whether `link` keeps what must never change about the link it replaces.
    fn hold_against(&self, old: &Table, link: &Link, line: u64, bytes: &[u8]) -> Result<(), Vec<RecordError>> {
        let served = old.get(link.domain(), link.code());
        let Some(before) = served.as_deref().or_else(|| old.gone(link, self.load.now_ms)) else {
            self.note_move(old, link, line, bytes);
            return Ok(());
        };
        let last = if served.is_some() { "" } else { " when it was removed, and a code is free again after 114 days" };
        let (Some(was), Some(is)) = (LinkFacts::decode(before.facts()), LinkFacts::decode(link.facts())) else {
            return Ok(());
        };
        let mut changed = Vec::new();
        let mut keep = |field: &'static str, same: bool, was: &str, why: &str| {
            if !same {
                let was = if was.is_empty() { "absent" } else { was };
                let message = format!("never changes and was {was}{last}{why}; give the changed link another code");
                changed.push(RecordError::new(field, message));
            }
        };
        // A test link without created_at is as old as its load.
        let created = was.created_ms == is.created_ms || before.undated();
        keep("created_at", created, &date(was.created_ms), " (a new date would renew the 100 days)");
        keep("kind", was.kind == is.kind, was.kind.as_str(), "");
        keep("creator", was.creator == is.creator, was.creator, "");
        keep("partner", was.partner == is.partner, was.partner, "");
        if changed.is_empty() { Ok(()) } else { Err(changed) }
    }

    /// A link that is new in its domain, but whose code another domain had: if that one lacks it now, it moved.
    fn note_move(&self, old: &Table, link: &Link, line: u64, bytes: &[u8]) {
        for domain in self.load.domains.all() {
            if domain.id != link.domain() && old.get(domain.id, link.code()).is_some() {
                let message =
                    format!("never changes and was {:?}; give the link on this domain another code", domain.name);
                let at = place(line, bytes, RecordError::new("domain", message));
                locked(&self.tally).moved.push(Moved { at, from: domain.id, code: link.code().to_owned() });
            }
        }
    }

    /// Checks what only the whole can show.
    fn finish(mut self, file: &File, started: Instant) -> Result<Loaded, LoadError> {
        let path = || self.load.path.to_owned();
        let mut tally = self.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        let gone = |moved: &Moved| self.table.get(moved.from, &moved.code).is_none();
        tally.moved.into_iter().filter(gone).for_each(|moved| tally.mistakes.push(moved.at));
        if !tally.twice.is_empty() {
            let unnamed = tally.twice.len() as u64;
            let named = name_twice(file, self.load.domains, tally.twice);
            tally.mistakes.total += unnamed - (named.len() as u64).min(unnamed);
            named.into_iter().for_each(|error| tally.mistakes.push(error));
        }
        tally.mistakes.cut();
        tally.warnings.cut();
        if tally.mistakes.total > 0 {
            let List { first, total } = tally.mistakes;
            return Err(LoadError::Lines(Mistakes { path: path(), listed: first, total }));
        }
        if let (Some(old), false) = (self.load.old, self.load.allow_shrink) {
            if self.table.is_empty() && !old.is_empty() {
                return Err(LoadError::Empty { path: path(), served: old.len() as u64 });
            }
            let (gone, live) = lost(old, &self.table, self.load.now_ms);
            if gone * 10 > live {
                return Err(LoadError::Shrinks { path: path(), gone, live });
            }
        }
        if let Some(old) = self.load.old {
            self.table.remember(old, self.load.now_ms);
        }
        Ok(Loaded {
            links: self.links.into_inner(),
            table: self.table,
            version: self.version,
            warnings: tally.warnings.first,
            warned: tally.warnings.total,
            took: started.elapsed(),
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many live links of `old` are not in `new`, and how many there are.
fn lost(old: &Table, new: &Table, now_ms: u64) -> (u64, u64) {
    let (mut gone, mut live) = (0, 0);
    old.for_each(|link| {
        if link.state(now_ms) == State::Live {
            live += 1;
            gone += u64::from(new.get(link.domain(), link.code()).is_none());
        }
    });
    (gone, live)
}

fn date(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| ms.to_string(), |time| time.to_string())
}

fn read_line(line: u64, bytes: &[u8]) -> Result<Record, LineError> {
    if bytes.len() > MAX_LINE {
        return Err(LineError {
            line,
            column: 1,
            message: format!("has {} bytes; allowed are {MAX_LINE}", bytes.len()),
        });
    }
    // serde would take a list for a record, by its fields' order.
    if let Some(at) = bytes.iter().position(|byte| !byte.is_ascii_whitespace())
        && bytes[at] != b'{'
    {
        let message = "is no JSON object; a line holds one, {\"code\":…,\"url\":…,\"kind\":…}";
        return Err(LineError { line, column: at as u64 + 1, message: message.to_owned() });
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        // Its own position counts lines within this one.
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
        let names_its_field =
            ["unknown field", "missing field", "duplicate field"].iter().any(|s| message.starts_with(s));
        let field = if error.is_data() && !names_its_field { key_before(bytes, error.column()) } else { None };
        let allowed = match field {
            Some("created_at" | "starts_at" | "expires_at") => "; allowed is RFC 3339, such as 2026-11-01T00:00:00Z",
            Some("rate_bp") => "; allowed are 1 to 10000 hundredths of a percent",
            None if message == "trailing characters" => "; a line holds one JSON object and nothing behind it",
            _ => "",
        };
        let message = match field {
            Some(field) => format!("{field}: {message}{allowed}"),
            None if error.is_data() => message.to_owned(),
            None => format!("is not JSON: {message}{allowed}"),
        };
        LineError { line, column: error.column().max(1) as u64, message }
    })
}

/// The key whose value ends at `column`.
fn key_before(bytes: &[u8], column: usize) -> Option<&str> {
    let before = bytes.get(..column)?;
    let mut colons = memchr::memrchr_iter(b':', before);
    let name = colons.find_map(|colon| before[..colon].trim_ascii_end().strip_suffix(b"\""))?;
    let start = memchr::memrchr(b'"', name)? + 1;
    str::from_utf8(&name[start..]).ok()
}

/// Names the lines of codes given twice. Reads the file once more, for the first codes only: this is the rare case, and
/// keeping every link's line would cost the common one.
fn name_twice(mut file: &File, domains: &Domains, mut twice: Vec<(DomainId, Vec<u8>)>) -> Vec<LineError> {
    twice.sort_by(|one, other| one.1.cmp(&other.1));
    twice.dedup();
    twice.truncate(LISTED);
    let mut lines: HashMap<(DomainId, Vec<u8>), Vec<u64>> = twice.into_iter().map(|key| (key, Vec::new())).collect();
    let mut first_words: BTreeMap<u64, LineError> = BTreeMap::new();
    if file.rewind().is_err() {
        return Vec::new();
    }
    let mut source = Source::new(file);
    while let Ok(Some(block)) = source.next() {
        for (line, bytes) in block.lines() {
            let Ok(record) = read_line(line, bytes) else { continue };
            let Some(domain) = domains.named(&record.domain) else { continue };
            let code = if domain.id.folds() { record.code.to_ascii_lowercase() } else { record.code };
            let Some(seen) = lines.get_mut(&(domain.id, code.clone().into_bytes())) else { continue };
            if let Some(first) = seen.first() {
                let message = format!("{code:?} of domain {:?} is on line {first} already", domain.name);
                first_words.insert(line, place(line, bytes, RecordError::new("code", message)));
            }
            seen.push(line);
        }
    }
    first_words.into_values().collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::atomic::AtomicU64};

    use super::*;
    use crate::links::{REUSE_MS, domains};

    const NOW: u64 = 1_793_600_000_000;

    fn line(code: &str, more: &str) -> String {
        format!(
            r#"{{"code":"{code}","url":"https://shop.example.com/p/1","kind":"plain","created_at":"2026-11-01T00:00:00Z"{more}}}"#
        )
    }

    struct House {
        dir: tempfile::TempDir,
        domains: Domains,
        threads: usize,
        allow_shrink: bool,
        now_ms: u64,
    }

    impl House {
        fn new() -> House {
            let config: domains::Config =
                toml::from_str("[\"go.example.com\"]\n[\"fold.example.com\"]\ncase_insensitive = true").unwrap();
            let domains = Domains::new(&config).unwrap();
            House { dir: tempfile::tempdir().unwrap(), domains, threads: 2, allow_shrink: false, now_ms: NOW }
        }

        fn load(&self, text: &str, old: Option<&Table>) -> Result<Loaded, LoadError> {
            let path = self.dir.path().join("links.jsonl");
            fs::write(&path, text).unwrap();
            load(&Load {
                path: &path,
                rules: &Rules::default(),
                domains: &self.domains,
                now_ms: self.now_ms,
                old,
                allow_shrink: self.allow_shrink,
                threads: self.threads,
                progress: &|_| {},
            })
        }

        fn mistakes(&self, text: &str, old: Option<&Table>) -> Mistakes {
            match self.load(text, old) {
                Err(LoadError::Lines(mistakes)) => mistakes,
                Err(error) => panic!("{error}"),
                Ok(_) => panic!("it was taken"),
            }
        }
    }

    fn listed(mistakes: &Mistakes) -> Vec<(u64, u64, &str)> {
        mistakes.listed.iter().map(|error| (error.line, error.column, error.message.as_str())).collect()
    }

    #[test]
    fn links_are_found_by_domain_and_code() {
        let house = House::new();
        let text = [
            line("a", ""),
            String::new(),
            line("A", ""),
            line("a", r#","domain":"GO.example.com""#) + "\r",
            line("MiXed", r#","domain":"fold.example.com""#),
        ];
        let loaded = house.load(&text.join("\n"), None).unwrap();
        assert_eq!((loaded.links, loaded.table.len()), (4, 4));
        let default = house.domains.of_host(b"x").id;
        let fold = house.domains.of_host(b"fold.example.com").id;
        for (domain, code, found) in [
            (default, "a", true),
            (default, "A", true),
            (default, "b", false),
            (default, "", false),
            (house.domains.of_host(b"go.example.com").id, "a", true),
            (house.domains.of_host(b"go.example.com").id, "A", false),
            (fold, "mixed", true),
            (fold, "mIXED", true),
            (default, "mixed", false),
        ] {
            assert_eq!(loaded.table.get(domain, code.as_bytes()).is_some(), found, "{code}");
        }
        assert!(loaded.table.get(default, &[b'a'; 65]).is_none());
        assert_eq!(loaded.table.get(fold, b"MIXED").unwrap().code(), b"mixed");
    }

    #[test]
    fn every_mistake_is_named_by_line_and_column_and_nothing_is_taken() {
        let house = House::new();
        let text = [
            line("a", ""),
            line("b", r#","kynd":1"#),
            line("c c", ""),
            line("d", r#","domain":"other.example""#),
            "{".to_owned(),
            line("e", r#","fallback_url":"/x""#),
            line("f", "").replace("https://shop", "ftp://shop"),
        ];
        let mistakes = house.mistakes(&text.join("\n"), None);
        let listed = listed(&mistakes);
        assert_eq!(mistakes.total, 6, "{mistakes}");
        assert_eq!(listed[0].0, 2);
        assert!(listed[0].2.starts_with("unknown field `kynd`, expected one of `code`"), "{}", listed[0].2);
        assert_eq!((listed[1].0, listed[1].1), (3, 2));
        assert!(listed[1].2.starts_with("code: character 2"));
        assert!(listed[2].2.contains("configured are *, fold.example.com, go.example.com"), "{}", listed[2].2);
        assert_eq!((listed[3].0, listed[3].1), (5, 1));
        assert!(listed[4].2.starts_with("fallback_url: is not an absolute URL"));
        let url_column = text[6].find("\"url\"").unwrap() as u64 + 1;
        assert_eq!((listed[5].0, listed[5].1), (7, url_column));
        assert!(mistakes.to_string().contains("links.jsonl:3:2: code: "));
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named_by_its_field() {
        let house = House::new();
        for (was, is, says) in [
            (r#""https://shop.example.com/p/1""#, "17", "url: invalid type: integer `17`, expected a string"),
            (r#""plain""#, r#""plane""#, "kind: unknown variant `plane`, expected one of `product`, `showcase`"),
            ("2026-11-01T00:00:00Z", "2026-11-31", "created_at: "),
            ("2026-11-01T00:00:00Z\"", "2026-11-01T00:00:00Z\",\"rate_bp\":-5", "rate_bp: invalid value: integer `-5`"),
            (r#""kind":"plain","#, "", "missing field `kind`"),
            (r#""kind""#, r#""creator" : 1, "kind""#, "creator: invalid type"),
        ] {
            let mistakes = house.mistakes(&line("a", "").replace(was, is), None);
            assert!(mistakes.listed[0].message.starts_with(says), "{mistakes}");
            let (_, allowed) = mistakes.listed[0].message.split_once(": ").unwrap_or_default();
            let said = ["expected", "allowed"].iter().any(|word| allowed.contains(word));
            assert!(said || is.is_empty(), "what is allowed: {mistakes}");
        }
    }

    #[test]
    fn a_line_that_is_no_single_object_is_refused_even_as_a_list_of_a_records_values() {
        let house = House::new();
        let list = r#" ["a","https://shop.example.com/","plain",null,null,null,null,null,null,null,null,null,"2026-11-01T00:00:00Z"]"#;
        for (line, column) in [(list, 2), ("\"a\"", 1), ("17", 1), ("null", 1), ("\u{feff}{}", 1)] {
            let mistakes = house.mistakes(line, None);
            assert_eq!(mistakes.listed[0].column, column, "{mistakes}");
            assert!(mistakes.listed[0].message.starts_with("is no JSON object; a line holds one"), "{mistakes}");
        }
        let two = house.mistakes(&format!("{} {}", line("a", ""), line("b", "")), None);
        assert!(two.listed[0].message.contains("a line holds one JSON object and nothing behind it"), "{two}");
    }

    #[test]
    fn a_code_given_twice_is_named_by_both_lines() {
        let house = House::new();
        let text =
            [line("a", ""), line("b", ""), line("a", ""), line("c", ""), line("b", r#","domain":"go.example.com""#)];
        let mistakes = house.mistakes(&text.join("\n"), None);
        assert_eq!(listed(&mistakes), [(3, 2, "code: \"a\" of domain \"*\" is on line 1 already")]);
        assert_eq!(mistakes.total, 1);
        let folded = [line("Ab", r#","domain":"fold.example.com""#), line("aB", r#","domain":"fold.example.com""#)];
        let mistakes = house.mistakes(&folded.join("\n"), None);
        assert_eq!(listed(&mistakes), [(2, 2, "code: \"ab\" of domain \"fold.example.com\" is on line 1 already")]);
    }

    #[test]
    fn many_mistakes_are_counted_and_the_first_are_listed() {
        let house = House::new();
        let text: Vec<String> = (0..30_000).map(|n| line(&format!("a{n} "), "")).collect();
        let mistakes = house.mistakes(&text.join("\n"), None);
        assert_eq!(mistakes.total, 30_000);
        assert_eq!(mistakes.listed.iter().map(|error| error.line).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_of_many_blocks_keeps_its_line_numbers_and_every_link() {
        let house = House::new();
        let mut text: Vec<String> = (0..40_000).map(|n| line(&format!("a{n}"), "")).collect();
        let seen = AtomicU64::new(0);
        let loaded = house.load(&text.join("\n"), None).unwrap();
        assert_eq!((loaded.links, loaded.table.len()), (40_000, 40_000));
        let path = house.dir.path().join("links.jsonl");
        let progress = |progress: Progress| {
            seen.fetch_max(progress.bytes, Ordering::Relaxed);
            assert!(progress.bytes <= progress.total);
        };
        let again = load(&Load {
            path: &path,
            rules: &Rules::default(),
            domains: &house.domains,
            now_ms: NOW,
            old: Some(&loaded.table),
            allow_shrink: false,
            threads: 3,
            progress: &progress,
        });
        assert_eq!(again.unwrap().links, 40_000);
        assert_eq!(seen.into_inner(), fs::metadata(&path).unwrap().len());
        text[33_333].push('x');
        assert_eq!(house.mistakes(&text.join("\n"), None).listed[0].line, 33_334);
    }

    #[test]
    fn a_line_may_have_16_kib_and_no_more() {
        let house = House::new();
        let long = |len: usize| line("a", "") + &" ".repeat(len - line("a", "").len());
        assert_eq!(house.load(&long(MAX_LINE), None).unwrap().links, 1);
        let mistakes = house.mistakes(&long(MAX_LINE + 1), None);
        assert!(mistakes.listed[0].message.contains("allowed are 16384"));
        let mistakes = house.mistakes(&long(3 << 20), None);
        assert_eq!(mistakes.listed[0].line, 1);
    }

    #[test]
    fn what_never_changes_is_held_against_the_served_links() {
        let house = House::new();
        let own = r#","creator":"c_1","partner":"p_1""#;
        let old = house.load(&line("a", own), None).unwrap().table;
        let later = line("a", own).replace("2026-11-01", "2026-11-02");
        let mistakes = house.mistakes(&later, Some(&old));
        assert!(mistakes.listed[0].message.starts_with("created_at: never changes and was 2026-11-01T00:00:00Z"));
        assert_eq!(mistakes.listed[0].column, later.find("\"created_at\"").unwrap() as u64 + 1);
        let other = r#","creator":"c_2","seller":"s_1","product":"1","plan":"open","rate_bp":900"#;
        let mistakes = house.mistakes(&line("a", other).replace("plain", "product"), Some(&old));
        let fields: Vec<&str> = mistakes.listed.iter().map(|error| error.message.split(':').next().unwrap()).collect();
        assert_eq!(fields, ["partner", "kind", "creator"]);
        let moved = line("a", &format!(r#"{own},"domain":"go.example.com""#));
        let mistakes = house.mistakes(&moved, Some(&old));
        assert!(mistakes.listed[0].message.starts_with("domain: never changes and was \"*\""), "{mistakes}");
        assert!(house.load(&format!("{}\n{moved}", line("a", own)), Some(&old)).is_ok());
        assert!(house.load(&line("a", &format!(r#"{own},"enabled":false"#)), Some(&old)).is_ok());
    }

    #[test]
    fn a_removed_link_comes_back_as_it_was_or_not_for_114_days() {
        let mut house = House::new();
        let lines: Vec<String> = (0..20).map(|n| line(&format!("a{n}"), "")).collect();
        let renewed = line("a0", "").replace("2026-11-01", "2026-11-02");
        let with = |first: &str| format!("{first}\n{}", lines[1..].join("\n"));
        let whole = house.load(&lines.join("\n"), None).unwrap().table;
        let without = house.load(&lines[1..].join("\n"), Some(&whole)).unwrap().table;
        let again = house.load(&lines[1..].join("\n"), Some(&without)).unwrap().table;
        for old in [&without, &again] {
            let mistakes = house.mistakes(&with(&renewed), Some(old));
            assert_eq!(mistakes.listed[0].line, 1);
            let says = "created_at: never changes and was 2026-11-01T00:00:00Z when it was removed";
            assert!(mistakes.listed[0].message.starts_with(says), "{mistakes}");
        }
        let back = house.load(&lines.join("\n"), Some(&again)).unwrap().table;
        assert!(back.gone.is_empty());
        house.now_ms += REUSE_MS - 1;
        assert_eq!(house.mistakes(&with(&renewed), Some(&again)).total, 1);
        house.now_ms += 1;
        assert!(house.load(&with(&renewed), Some(&again)).is_ok());
        assert!(house.load(&lines[1..].join("\n"), Some(&again)).unwrap().table.gone.is_empty());
    }

    #[test]
    fn a_test_link_without_a_date_is_as_old_as_its_load() {
        let house = House::new();
        let undated = r#"{"code":"a","url":"https://shop.example.com/","kind":"plain","test":true}"#;
        let old = house.load(undated, None).unwrap().table;
        assert!(house.load(undated, Some(&old)).is_ok());
        assert!(house.load(&line("a", ""), Some(&old)).is_ok());
        let dated = house.load(&line("a", ""), None).unwrap().table;
        assert_eq!(house.mistakes(undated, Some(&dated)).total, 1);
    }

    #[test]
    fn a_version_that_is_empty_or_lost_more_than_a_tenth_is_refused_unless_allowed() {
        let mut house = House::new();
        let lines: Vec<String> = (0..20).map(|n| line(&format!("a{n}"), "")).collect();
        let expired = line("gone", r#","expires_at":"2026-11-01T00:00:01Z""#);
        let old = house.load(&format!("{}\n{expired}", lines.join("\n")), None).unwrap().table;
        assert!(house.load(&lines[..18].join("\n"), Some(&old)).is_ok());
        let refused = house.load(&lines[..17].join("\n"), Some(&old));
        assert!(matches!(refused, Err(LoadError::Shrinks { gone: 3, live: 20, .. })));
        assert!(matches!(house.load("\n", Some(&old)), Err(LoadError::Empty { served: 21, .. })));
        house.allow_shrink = true;
        assert_eq!(house.load("", Some(&old)).unwrap().links, 0);
    }

    #[test]
    fn the_example_links_are_of_every_kind_and_live_whenever_they_are_loaded() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/links.example.jsonl");
        let domains = Domains::new(&domains::Config::default()).unwrap();
        for now_ms in [NOW, NOW * 2] {
            let loaded = load(&Load {
                path: &path,
                rules: &Rules::default(),
                domains: &domains,
                now_ms,
                old: None,
                allow_shrink: false,
                threads: 1,
                progress: &|_| {},
            });
            let loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(loaded.warned, 0);
            let mut kinds = std::collections::BTreeSet::new();
            loaded.table.for_each(|link| {
                let facts = LinkFacts::decode(link.facts()).unwrap();
                kinds.insert(facts.kind.as_str());
                assert_eq!((link.state(now_ms), facts.test), (State::Live, true));
            });
            assert_eq!(kinds.len(), 4);
        }
    }

    #[test]
    fn unusual_rates_warn_and_are_taken() {
        let house = House::new();
        let more = r#","seller":"s_1","product":"1","plan":"open","rate_bp":100"#;
        let loaded = house.load(&line("a", more).replace("plain", "product"), None).unwrap();
        assert_eq!((loaded.links, loaded.warned), (1, 1));
        assert!(loaded.warnings[0].message.starts_with("rate_bp: is 100"));
    }
}

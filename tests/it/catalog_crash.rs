//! The catalog survives death and errors of the disk. strace kills the real program at a call that changes a file, or
//! makes such calls fail; then the catalog is opened again.
//!
//! Here: commands on a data directory, which die at points spread over all calls by which SQLite changes files.
//! `WAYPOST_CATALOG_CRASH_POINTS` is the number of points of each command; a large one takes every point.

use std::{
    collections::{HashMap, HashSet},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use self::state::CatalogState;
use crate::{
    copies::copy_directory,
    dsl::{Site, link},
    need::has_program,
};

mod server;
mod state;

/// The calls by which SQLite changes files.
const CALLS: &str = "pwrite64,fsync,fdatasync,ftruncate,unlink";
/// Records that `links add` commits at once.
const CHUNK: usize = 1_000;
/// Stands for the act of the patch.
const ACT_OF_PATCH: &str = "ACT";
/// The host that the patch sets.
const PATCHED_HOST: &str = "new.example.com";

/// The commands, one after the other. A command that was done is done again without harm.
const COMMANDS: [&[&str]; 8] = [
    &["links", "add", "--replace", "first.jsonl", "--reason", "first"],
    &["links", "set", "tea", "title=A", "tags=[\"hot\"]"],
    &["links", "patch", "--where", "creator=c_1", "--set", "host=new.example.com"],
    &["links", "undo", ACT_OF_PATCH],
    &["links", "disable", "cup", "--reason", "sold out"],
    &["links", "rm", "mug"],
    &["links", "add", "--replace", "many.jsonl"],
    &["api-keys", "new", "--name", "shell", "--scope", "read"],
];

fn points_of_command() -> usize {
    let points = std::env::var("WAYPOST_CATALOG_CRASH_POINTS").ok().and_then(|points| points.parse().ok());
    points.unwrap_or(2)
}

/// A call that changes a file of the data directory: the `number`-th of its name in its thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct DurabilityPoint {
    call: String,
    number: usize,
}

/// What a command did.
struct Ran {
    code: Option<i32>,
    signal: Option<i32>,
    out: String,
    error: String,
}

impl Ran {
    fn of(command: &mut Command) -> Ran {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: status.code(), signal: status.signal(), out: text(stdout), error: text(stderr) }
    }
}

/// The commands on data directories of their own, each below the site's directory.
struct Commands {
    site: Site,
    /// The state before each command, and behind the last.
    states: Vec<CatalogState>,
}

impl Commands {
    /// Runs all commands once, and keeps a copy of the data directory before each.
    fn run_undisturbed() -> Commands {
        let site = Site::without_links_file();
        site.write("first.jsonl", &["tea", "cup", "mug", "jar"].map(|code| link(code) + "\n").concat());
        site.write("many.jsonl", &(0..1_200).map(|at| link(&format!("m{at}")) + "\n").collect::<String>());
        site.write("thief.jsonl", &link("mug").replace("c_1", "thief"));
        let mut commands = Commands { site, states: vec![CatalogState::default()] };
        for (at, args) in COMMANDS.iter().enumerate() {
            let data = commands.new_directory_before(at, "run");
            let ran = commands.run(at, &data, None);
            assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.error);
            commands.states.push(CatalogState::read_and_check(&data));
            copy_directory(&data, &commands.directory_before(at + 1));
        }
        commands
    }

    fn directory_before(&self, at: usize) -> PathBuf {
        self.site.path(&format!("before-{at}"))
    }

    /// A copy of the data directory as it was before a command.
    fn new_directory_before(&self, at: usize, name: &str) -> PathBuf {
        let data = self.site.path(name);
        let _ = std::fs::remove_dir_all(&data);
        if at > 0 {
            copy_directory(&self.directory_before(at), &data);
        }
        data
    }

    fn command(&self, args: &[&str], data: &Path, strace: Option<&[&str]>) -> Ran {
        let (place, rest) = args.split_at(if args[0] == "links" { 1 } else { 2 });
        let data = data.display().to_string();
        let mut command = self.site.command(&[place, &["--data-dir", &data], rest].concat());
        let Some(options) = strace else { return Ran::of(&mut command) };
        let mut traced = Command::new("strace");
        traced.args(["-f", "-y", "-qq", "-e", "signal=none", "-e"]).arg(format!("trace={CALLS}"));
        traced.args(options).arg(command.get_program()).args(command.get_args());
        traced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Ran::of(traced.current_dir(command.get_current_dir().unwrap()))
    }

    /// Runs a command of [`COMMANDS`].
    fn run(&self, at: usize, data: &Path, strace: Option<&[&str]>) -> Ran {
        let act = COMMANDS[at].contains(&ACT_OF_PATCH).then(|| self.find_act_of_patch(data));
        let args = COMMANDS[at].iter().map(|arg| if *arg == ACT_OF_PATCH { act.as_deref().unwrap() } else { arg });
        self.command(&args.collect::<Vec<_>>(), data, strace)
    }

    fn find_act_of_patch(&self, data: &Path) -> String {
        let history = self.command(&["links", "history", "tea"], data, None).out;
        let mut lines = history.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let patch = lines.find(|line| line["after"]["url"].as_str().unwrap().contains(PATCHED_HOST));
        patch.unwrap()["act"].as_str().unwrap().to_owned()
    }

    /// The calls of a command that change files of the data directory, in their order.
    fn list_points(&self, at: usize) -> Vec<DurabilityPoint> {
        let data = self.new_directory_before(at, "traced");
        let ran = self.run(at, &data, Some(&["-o", "calls"]));
        assert_eq!(ran.code, Some(0), "{:?}: {}", COMMANDS[at], ran.error);
        let (mut numbers, mut seen, mut points) = (HashMap::new(), HashSet::new(), Vec::new());
        for line in std::fs::read_to_string(self.site.path("calls")).unwrap().lines() {
            let (thread, rest) = line.split_once(' ').unwrap();
            let Some((call, arguments)) = rest.trim().split_once('(') else { continue };
            let number = numbers.entry((thread.to_owned(), call.to_owned())).or_insert(0);
            *number += 1;
            let point = DurabilityPoint { call: call.to_owned(), number: *number };
            if arguments.contains(&data.display().to_string()) && seen.insert(point.clone()) {
                points.push(point);
            }
        }
        points
    }

    /// Kills a command at a point, and checks that what it told is there, that the rest is there whole or not at all,
    /// and that the commands end as ever once they are given again.
    fn check_death(&self, at: usize, point: &DurabilityPoint) {
        let what = format!("{:?} killed at {point:?}", COMMANDS[at]);
        let data = self.new_directory_before(at, "killed");
        let kill = format!("inject={}:signal=SIGKILL:when={}", point.call, point.number);
        let ran = self.run(at, &data, Some(&["-e", &kill, "-o", "/dev/null"]));
        assert_eq!(ran.signal, Some(9), "{what}: {}", ran.error);
        let verified = self.command(&["links", "verify"], &data, None);
        assert!(verified.code == Some(0) && verified.out.contains("sound"), "{what}: {}", verified.error);
        let state = CatalogState::read_and_check(&data);
        self.check_state_after_death(at, &state, &ran.out, &what);
        if at > 0 && !state.links.contains_key("mug") {
            let taken = self.command(&["links", "add", "thief.jsonl"], &data, None);
            assert!(taken.error.contains("the code belongs to a removed link until 20"), "{what}: {}", taken.error);
        }
        for (again, args) in COMMANDS.iter().enumerate().skip(at) {
            let ran = self.run(again, &data, None);
            let is_done = again == at && ran.code == Some(2) && ran.error.contains("there is no such link");
            assert!(ran.code == Some(0) || is_done, "{what}, then {:?}: {}", args, ran.error);
        }
        let last = CatalogState::read_and_check(&data);
        let undisturbed = self.states.last().unwrap();
        assert_eq!((&last.links, &last.changes), (&undisturbed.links, &undisturbed.changes), "{what}");
    }

    fn check_state_after_death(&self, at: usize, state: &CatalogState, told: &str, what: &str) {
        let (before, after) = (&self.states[at], &self.states[at + 1]);
        let count = state.changes.len();
        assert_eq!(state.changes, after.changes[..count], "{what}");
        let made = count.checked_sub(before.changes.len()).unwrap_or_else(|| panic!("{what}: a change is lost"));
        assert!(count == after.changes.len() || made.is_multiple_of(CHUNK), "{what}: {made} changes of a commit");
        assert!(state.version >= before.version, "{what}: the version goes back");
        for line in told.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let is_there = match words[..] {
                ["created" | "changed" | "removed", name, "at", "version", version] => {
                    let (code, version): (_, u64) = (name.trim_start_matches("*/"), version.parse().unwrap());
                    state.changes.iter().any(|change| change.code == code && change.version == version)
                }
                [key] if key.starts_with("wpk_") => state.api_keys.iter().any(|id| key.contains(id)),
                _ => count == after.changes.len(),
            };
            assert!(is_there, "{what}: was told and is not there: {line}");
        }
    }
}

/// So many of the points, spread evenly.
fn spread(points: &[DurabilityPoint], count: usize) -> Vec<DurabilityPoint> {
    let count = count.min(points.len());
    (0..count).map(|at| points[(2 * at + 1) * points.len() / (2 * count)].clone()).collect()
}

#[test]
fn a_command_that_dies_at_any_point_keeps_what_it_told_and_is_finished_by_the_same_command() {
    if !has_program("strace", "--version") {
        return;
    }
    let commands = Commands::run_undisturbed();
    let (mut all, mut tried) = (0, 0);
    for (at, args) in COMMANDS.iter().enumerate() {
        let points = commands.list_points(at);
        assert!(points.len() > 3, "{args:?} changes files by {points:?}");
        let mut chosen = spread(&points, points_of_command());
        if at + 1 == COMMANDS.len() {
            // Its two rows must be one commit: a death between two commits comes before a sync.
            chosen.extend(points.iter().filter(|point| point.call.contains("sync")).cloned());
        }
        chosen.iter().for_each(|point| commands.check_death(at, point));
        (all, tried) = (all + points.len(), tried + chosen.len());
    }
    println!("killed at {tried} of {all} points of {} commands", COMMANDS.len());
}

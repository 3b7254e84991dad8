//! Chooses loom's atomics for `src/journal/pins.rs` by a cfg of our own (never `--cfg loom`, which would rebuild every
//! dependency), and makes copies of that file with one fault each, to show that the model finds them.

use std::{env, fs, path::Path};

const SOURCE: &str = "../../src/journal/pins.rs";

/// The fault's name, what stands in the source exactly once, and what the copy has instead.
const FAULTS: [(&str, &str, &str); 4] = [
    (
        "worker_without_fence",
        "self.reclaimed.0.store(home, Release);\n        fence(SeqCst);\n",
        "self.reclaimed.0.store(home, Release);\n",
    ),
    ("reader_without_fence", "pin.store(from, Release);\n        fence(SeqCst);\n", "pin.store(from, Release);\n"),
    ("spiller_without_pin", "Who::Spill => &self.spill.0,", "Who::Spill => &AtomicU64::new(NONE),"),
    (
        "copy_then_check",
        "        if self.reclaimed.0.load(Acquire) > from {\n            pin.store(NONE, Release);\n            return None;\n        }\n        let copied = copy(marks.head.load(Acquire));\n",
        "        let copied = copy(marks.head.load(Acquire));\n        if self.reclaimed.0.load(Acquire) > from {\n            pin.store(NONE, Release);\n            return None;\n        }\n",
    ),
];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(waypost_loom)");
    println!("cargo::rustc-cfg=waypost_loom");
    println!("cargo::rerun-if-changed={SOURCE}");
    let source = fs::read_to_string(SOURCE).expect("the pin protocol's source");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let write = |name: &str, source: &str| {
        // Inner doc comments may not stand in an included file.
        let body: String =
            source.lines().filter(|line| !line.starts_with("//!")).flat_map(|line| [line, "\n"]).collect();
        fs::write(Path::new(&out).join(format!("{name}.rs")), body).expect("OUT_DIR can be written");
    };
    write("production", &source);
    for (name, right, wrong) in FAULTS {
        assert_eq!(source.matches(right).count(), 1, "{name}: its place in {SOURCE} is not there exactly once");
        write(name, &source.replace(right, wrong));
    }
}

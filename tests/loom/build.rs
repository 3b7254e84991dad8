//! Selects loom's atomics for `src/journal/pins.rs` by a cfg of its own, because `--cfg loom` would rebuild every
//! dependency. Makes copies of that file with one fault each; the tests show that the model finds every fault.

use std::{env, fs, path::Path};

const SOURCE: &str = "../../src/journal/pins.rs";

/// A fault in the protocol, made by replacing text of the source.
struct Fault {
    name: &'static str,
    /// Text that stands in the source exactly once.
    original: &'static str,
    replacement: &'static str,
}

const FAULTS: [Fault; 4] = [
    Fault {
        name: "worker_without_fence",
        original: "self.reclaimed.0.store(durable, Release);\n        fence(SeqCst);\n",
        replacement: "self.reclaimed.0.store(durable, Release);\n",
    },
    Fault {
        name: "reader_without_fence",
        original: "pin.store(from, Release);\n        fence(SeqCst);\n",
        replacement: "pin.store(from, Release);\n",
    },
    Fault {
        name: "spiller_without_pin",
        original: "ReaderRole::Spiller => &self.spiller.0,",
        replacement: "ReaderRole::Spiller => &AtomicU64::new(NO_PIN),",
    },
    Fault {
        name: "copy_before_check",
        original: concat!(
            "        if self.reclaimed.0.load(Acquire) > from {\n",
            "            pin.store(NO_PIN, Release);\n",
            "            return None;\n",
            "        }\n",
            "        let copied = copy(positions.head.load(Acquire));\n",
        ),
        replacement: concat!(
            "        let copied = copy(positions.head.load(Acquire));\n",
            "        if self.reclaimed.0.load(Acquire) > from {\n",
            "            pin.store(NO_PIN, Release);\n",
            "            return None;\n",
            "        }\n",
        ),
    },
];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(waypost_loom)");
    println!("cargo::rustc-cfg=waypost_loom");
    println!("cargo::rerun-if-changed={SOURCE}");
    let source = fs::read_to_string(SOURCE).expect("the source of the pin protocol can be read");
    write_includable_copy("production", &source);
    for Fault { name, original, replacement } in FAULTS {
        assert_eq!(source.matches(original).count(), 1, "{name}: its text must stand exactly once in {SOURCE}");
        write_includable_copy(name, &source.replace(original, replacement));
    }
}

/// Writes a copy for `include!`, in which inner doc comments may not stand.
fn write_includable_copy(name: &str, source: &str) {
    let out_dir = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let body: String = source.lines().filter(|line| !line.starts_with("//!")).flat_map(|line| [line, "\n"]).collect();
    fs::write(Path::new(&out_dir).join(format!("{name}.rs")), body).expect("OUT_DIR can be written");
}

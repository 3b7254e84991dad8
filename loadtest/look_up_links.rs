//! Measures what a look-up in the table of links costs.
//!
//! `cargo run --release --example look_up_links -- [LINKS] [LOOK_UPS] [WORKERS] [CASE]` fills a table with that
//! many links (default: a million) and prints the nanoseconds of a look-up, for each of so many look-ups (default:
//! two million) by each of so many workers at once (default: one). Cases: `hit` asks for links all over the table,
//! `unknown` for codes that it lacks, `viral` for one link again and again, `beside-writes` for links all over the
//! table while another thread replaces links and adds as many; it prints the longest look-up too, of those in which
//! the system did not take the core away. `none` makes and reads the codes alone: what a simulator has to leave
//! out.

use std::{
    hint::black_box,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use waypost::links::{
    Link, Table,
    destination::policy::DestinationPolicy,
    domains::{Config, DomainId, Domains},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Code = [u8; 8];

/// Which codes are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Hit,
    Unknown,
    Viral,
    BesideWrites,
    None,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (links, look_ups, workers) = (number(0, 1_000_000)?, number(1, 2_000_000)?, number(2, 1)?);
    let case = match arguments.get(3).map_or("hit", String::as_str) {
        "hit" => Case::Hit,
        "unknown" => Case::Unknown,
        "viral" => Case::Viral,
        "beside-writes" => Case::BesideWrites,
        "none" => Case::None,
        other => return Err(format!("case: is {other:?}; allowed are hit, unknown, viral, beside-writes, none").into()),
    };
    let domains = Domains::new(&Config::default())?;
    let domain = domains.all()[0].id;
    let (table, example) = fill(links, &domains)?;
    let inputs = Inputs { table: &table, domain, links, look_ups, workers, case };
    let measured = inputs.measure(&example);
    println!(
        "{links} links, {workers} workers: a look-up takes {:.1} ns, the longest {:.1} µs; {} writes beside it",
        measured.mean_ns,
        measured.longest.as_nanos() as f64 / 1e3,
        measured.writes
    );
    Ok(())
}

/// The code of the link with this number: 8 characters, in no order.
fn code_of_number(number: u64) -> Code {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    // A permutation of 62^8, so that no code repeats: the factor is coprime to 62.
    let mut rest = number.wrapping_mul(123_456_789_011) % 62u64.pow(8);
    std::array::from_fn(|_| {
        let letter = ALPHABET[(rest % 62) as usize];
        rest /= 62;
        letter
    })
}

/// The bytes of a link, into which other codes are written.
struct ExampleLink {
    bytes: Vec<u8>,
    code_at: usize,
}

impl ExampleLink {
    fn with_code(&mut self, code: Code) -> Option<Link> {
        self.bytes[self.code_at..self.code_at + code.len()].copy_from_slice(&code);
        Link::from_bytes(&self.bytes)
    }
}

/// A table of so many links that differ by their codes. They are as long as those of `loadtest/`.
fn fill(links: u64, domains: &Domains) -> Result<(Table, ExampleLink), Box<dyn std::error::Error>> {
    let record = serde_json::from_value(serde_json::json!({
        "code": "EXAMPLE0", "url": "https://shop.example.com/view/product/1700000000?creator=c_4821", "kind": "product",
        "creator": "c_4821", "creator_type": "affiliate", "partner": "tap_17", "seller": "s_311",
        "product": "1700000000", "plan": "targeted", "rate_bp": 1200, "created_at": "2026-11-01T00:00:00Z",
    }))?;
    let (now_ms, version) = (1_793_600_000_000, 5_000_000);
    let valid = Link::check_and_build_from_record(&record, &DestinationPolicy::default(), domains, now_ms, version);
    let link = valid.map_err(|errors| format!("{errors:?}"))?.link;
    let mut bytes = Vec::new();
    link.write_bytes(&mut bytes);
    let code_at = bytes.windows(8).position(|window| window == b"EXAMPLE0").ok_or("the link lacks its code")?;
    let mut example = ExampleLink { bytes, code_at };
    let table = Table::with_capacity(links as usize);
    for number in 0..links {
        let link = example.with_code(code_of_number(number)).ok_or("the bytes are no link")?;
        table.try_insert_or_give_back(link).map_err(|_| "a code repeats")?;
    }
    Ok((table, example))
}

struct Inputs<'a> {
    table: &'a Table,
    domain: DomainId,
    links: u64,
    look_ups: u64,
    workers: u64,
    case: Case,
}

struct Measurement {
    mean_ns: f64,
    /// The longest look-up; zero unless links are replaced meanwhile, because the clock costs as much as a look-up.
    longest: Duration,
    writes: u64,
}

impl Inputs<'_> {
    fn measure(&self, example: &ExampleLink) -> Measurement {
        let codes: Vec<Vec<Code>> = (0..self.workers).map(|worker| self.codes_of_worker(worker)).collect();
        let (start, is_done) = (Barrier::new(self.workers as usize), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let writer = (self.case == Case::BesideWrites).then(|| scope.spawn(|| self.write_links(example, &is_done)));
            let run = |codes: &Vec<Code>| {
                start.wait();
                self.look_up(codes)
            };
            let workers: Vec<_> = codes.iter().map(|codes| scope.spawn(move || run(codes))).collect();
            let results: Vec<(Duration, Duration)> =
                workers.into_iter().filter_map(|worker| worker.join().ok()).collect();
            is_done.store(true, Ordering::Relaxed);
            let writes = writer.and_then(|writer| writer.join().ok()).unwrap_or(0);
            let total: Duration = results.iter().map(|(all, _)| all).sum();
            let longest = results.iter().map(|(_, longest)| *longest).max().unwrap_or_default();
            let mean_ns = total.as_nanos() as f64 / (self.look_ups * self.workers) as f64;
            Measurement { mean_ns, longest, writes }
        })
    }

    /// What a worker asks for, made before the clock runs.
    fn codes_of_worker(&self, worker: u64) -> Vec<Code> {
        let mut random = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(worker + 1);
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % self.links
        };
        let number = |random: u64| match self.case {
            Case::Hit | Case::BesideWrites | Case::None => random,
            Case::Unknown => self.links + random,
            Case::Viral => 0,
        };
        (0..self.look_ups).map(|_| code_of_number(number(next()))).collect()
    }

    /// Looks all codes up; returns the time for all of them and that of the longest, if each is timed.
    fn look_up(&self, codes: &[Code]) -> (Duration, Duration) {
        let (began, mut longest, mut bytes) = (Instant::now(), Duration::ZERO, 0);
        match self.case {
            Case::None => codes.iter().for_each(|code| bytes += usize::from(code[7])),
            Case::BesideWrites => {
                let mut switches = count_involuntary_switches();
                for code in codes {
                    let began = Instant::now();
                    black_box(self.table.get(self.domain, code));
                    let took = began.elapsed();
                    if took > longest {
                        let now = count_involuntary_switches();
                        longest = if now == switches { took } else { longest };
                        switches = now;
                    }
                }
            }
            Case::Hit | Case::Unknown | Case::Viral => {
                for code in codes {
                    bytes += self.table.get(self.domain, code).map_or(0, |link| link.facts().len());
                }
            }
        }
        black_box(bytes);
        (began.elapsed(), longest)
    }

    /// Replaces links all over the table, and adds as many, until `is_done`; returns how many.
    fn write_links(&self, example: &ExampleLink, is_done: &AtomicBool) -> u64 {
        let mut example = ExampleLink { bytes: example.bytes.clone(), code_at: example.code_at };
        let mut writes: u64 = 0;
        while !is_done.load(Ordering::Relaxed) {
            let replaced = (writes / 2).wrapping_mul(7_919_317) % self.links;
            let number = if writes.is_multiple_of(2) { replaced } else { 2 * self.links + writes };
            if let Some(link) = example.with_code(code_of_number(number)) {
                self.table.insert_or_replace(link);
            }
            writes += 1;
        }
        writes
    }
}

/// How often the system took the core away from this thread.
fn count_involuntary_switches() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

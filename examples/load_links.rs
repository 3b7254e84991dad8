//! Measures how long a links file takes to load, and how much memory a link takes.
//!
//! `cargo run --release --example load_links -- [LINKS] [THREADS]` writes a file of that many links (default: a
//! million) to the temporary directory, loads it, and prints the load time, look-up times and bytes a link beyond its
//! URL.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use waypost::{
    clock,
    links::{
        Table,
        batch::BatchRules,
        domains::{Config, DomainId, Domains},
        file::{self, LoadRequest},
    },
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let links: u64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let cores = std::thread::available_parallelism()?.get();
    let threads: usize = arguments.next().map_or(Ok(cores), |text| text.parse())?;
    let path = std::env::temp_dir().join(format!("waypost-load-links-{}.jsonl", std::process::id()));
    let url_bytes = write_links_file(&path, links)?;
    let size = path.metadata()?.len();
    let measured = measure_load(&path, threads, links, url_bytes);
    std::fs::remove_file(&path)?;
    let LoadMeasurement { load_seconds, bytes_beyond_url, hit_ns, miss_ns } = measured?;
    println!("{links} links, {:.0} MB, {threads} threads: loaded in {load_seconds:.2} s", size as f64 / 1e6);
    println!("{bytes_beyond_url:.0} bytes a link beyond its URL; a hit takes {hit_ns:.0} ns, a miss {miss_ns:.0} ns");
    Ok(())
}

/// What a load and look-ups cost.
struct LoadMeasurement {
    load_seconds: f64,
    /// Resident bytes a link, without the bytes of its URL.
    bytes_beyond_url: f64,
    hit_ns: f64,
    miss_ns: f64,
}

/// The code of the link with this number: 8 characters, in no order.
fn code_of_number(number: u64) -> [u8; 8] {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    // A permutation of 62^8, so that no code repeats: the factor is coprime to 62.
    let mut rest = number.wrapping_mul(123_456_789_011) % 62u64.pow(8);
    std::array::from_fn(|_| {
        let letter = ALPHABET[(rest % 62) as usize];
        rest /= 62;
        letter
    })
}

/// Writes the file; returns the bytes of all its URLs.
fn write_links_file(path: &PathBuf, links: u64) -> io::Result<u64> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut url_bytes = 0;
    for number in 0..links {
        let bytes = code_of_number(number);
        let code = String::from_utf8_lossy(&bytes);
        let (product, creator) = (1_729_384_756 + number, number % 97_651);
        let url = format!("https://shop.example.com/view/product/{product}?creator=c_{creator}");
        url_bytes += url.len() as u64;
        writeln!(
            out,
            concat!(
                r#"{{"code":"{code}","url":"{url}","kind":"product","creator":"c_{creator}","#,
                r#""creator_type":"affiliate","partner":"tap_{}","seller":"s_{}","product":"{product}","#,
                r#""product_set":null,"campaign":null,"plan":"targeted","rate_bp":1200,"#,
                r#""created_at":"2026-10-{:02}T08:30:00Z","starts_at":null,"expires_at":null,"#,
                r#""enabled":true,"test":false,"fallback_url":null,"domain":"*","query":"stored-wins","#,
                r#""append_token":true,"targets":[]}}"#
            ),
            number % 9,
            number % 997,
            1 + number % 28,
            code = code,
            url = url,
            creator = creator,
            product = product,
        )?;
    }
    out.flush()?;
    Ok(url_bytes)
}

/// Loads the file and looks up codes that it has, and codes that it has not.
fn measure_load(
    path: &Path,
    threads: usize,
    links: u64,
    url_bytes: u64,
) -> Result<LoadMeasurement, Box<dyn std::error::Error>> {
    let domains = Domains::new(&Config::default())?;
    let policy = Default::default();
    let latest_version = std::sync::atomic::AtomicU64::new(0);
    let rules = BatchRules {
        policy: &policy,
        domains: &domains,
        now_ms: clock::wall_ms(),
        served: None,
        latest_version: &latest_version,
        allow_shrink: false,
    };
    let before = resident_bytes()?;
    let loaded = file::load_and_validate_file(&LoadRequest { path, rules, threads, progress: &|_| {} })?;
    let grown = resident_bytes()?.saturating_sub(before);
    let domain = domains.all()[0].id;
    Ok(LoadMeasurement {
        load_seconds: loaded.duration.as_secs_f64(),
        bytes_beyond_url: (grown as f64 - url_bytes as f64) / links as f64,
        hit_ns: mean_look_up_ns(&loaded.table, domain, links, 0),
        miss_ns: mean_look_up_ns(&loaded.table, domain, links, links),
    })
}

/// The mean time of a look-up of codes all over the table, nanoseconds. Links numbered from `first` are looked up;
/// those numbered `links` and above are not in the table.
fn mean_look_up_ns(table: &Table, domain: DomainId, links: u64, first: u64) -> f64 {
    const LOOK_UPS: u64 = 2_000_000;
    let started = Instant::now();
    let mut bytes = 0;
    for turn in 0..LOOK_UPS {
        let number = first + turn.wrapping_mul(7_919_317) % links;
        bytes += table.get(domain, &code_of_number(number)).map_or(0, |link| link.facts().len());
    }
    std::hint::black_box(bytes);
    started.elapsed().as_nanos() as f64 / LOOK_UPS as f64
}

/// Resident bytes of this process.
fn resident_bytes() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    Ok(pages * rustix::param::page_size() as u64)
}

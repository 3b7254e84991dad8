//! How long a links file takes to load, and what a link takes in memory.
//!
//! `cargo run --release --example load_links -- [LINKS] [THREADS]` writes a file of that many links (a million if not
//! said) to the temporary directory, loads it, and prints time, look-up times and bytes a link beyond its URL.

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
        domains::{Config, DomainId, Domains},
        file::{self, Load},
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
    let url_bytes = write(&path, links)?;
    let size = path.metadata()?.len();
    let result = measure(&path, threads, links, url_bytes);
    std::fs::remove_file(&path)?;
    let (seconds, beyond_url, hit, miss) = result?;
    println!("{links} links, {:.0} MB, {threads} threads: loaded in {seconds:.2} s", size as f64 / 1e6);
    println!("{beyond_url:.0} bytes a link beyond its URL; a hit takes {hit:.0} ns, a miss {miss:.0} ns");
    Ok(())
}

/// The code of the link with this number: 8 characters, in no order.
fn code(number: u64) -> [u8; 8] {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    // A permutation of 62^8, so that no code comes twice: the factor is prime to 62.
    let mut rest = number.wrapping_mul(123_456_789_011) % 62u64.pow(8);
    std::array::from_fn(|_| {
        let letter = ALPHABET[(rest % 62) as usize];
        rest /= 62;
        letter
    })
}

/// Writes the file; gives how many bytes its URLs have together.
fn write(path: &PathBuf, links: u64) -> io::Result<u64> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut url_bytes = 0;
    for number in 0..links {
        let bytes = code(number);
        let code = String::from_utf8_lossy(&bytes);
        let (product, creator) = (1_729_384_756 + number, number % 97_651);
        let url = format!("https://shop.example.com/view/product/{product}?creator=c_{creator}");
        url_bytes += url.len() as u64;
        writeln!(
            out,
            r#"{{"code":"{code}","url":"{url}","kind":"product","creator":"c_{creator}","creator_type":"affiliate","partner":"tap_{}","seller":"s_{}","product":"{product}","product_set":null,"campaign":null,"plan":"targeted","rate_bp":1200,"created_at":"2026-10-{:02}T08:30:00Z","starts_at":null,"expires_at":null,"enabled":true,"test":false,"fallback_url":null,"domain":"*","query":"stored-wins","append_token":true,"targets":[]}}"#,
            number % 9,
            number % 997,
            1 + number % 28
        )?;
    }
    out.flush()?;
    Ok(url_bytes)
}

/// Seconds of the load, bytes a link beyond its URL, nanoseconds of a hit and of a miss.
fn measure(
    path: &Path,
    threads: usize,
    links: u64,
    url_bytes: u64,
) -> Result<(f64, f64, f64, f64), Box<dyn std::error::Error>> {
    let domains = Domains::new(&Config::default())?;
    let before = resident()?;
    let loaded = file::load(&Load {
        path,
        rules: &Default::default(),
        domains: &domains,
        now_ms: clock::wall_ms(),
        old: None,
        allow_shrink: false,
        threads,
        progress: &|_| {},
    })?;
    let grown = resident()?.saturating_sub(before);
    let beyond = (grown as f64 - url_bytes as f64) / links as f64;
    let domain = domains.of_host(b"").id;
    let hit = look_up(&loaded.table, domain, links, 0);
    let miss = look_up(&loaded.table, domain, links, links);
    Ok((loaded.took.as_secs_f64(), beyond, hit, miss))
}

/// Nanoseconds a look-up of codes all over the table.
fn look_up(table: &Table, domain: DomainId, links: u64, from: u64) -> f64 {
    const TIMES: u64 = 2_000_000;
    let started = Instant::now();
    let mut bytes = 0;
    for turn in 0..TIMES {
        let number = from + turn.wrapping_mul(7_919_317) % links;
        bytes += table.get(domain, &code(number)).map_or(0, |link| link.facts().len());
    }
    std::hint::black_box(bytes);
    started.elapsed().as_nanos() as f64 / TIMES as f64
}

/// Resident bytes of this process.
fn resident() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    Ok(pages * rustix::param::page_size() as u64)
}

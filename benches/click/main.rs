//! The steps of a click, one by one, in instructions: `benches/run.sh`. Each is measured warm: buffers have grown, the
//! seller's key is derived; the setup is not counted.
#![allow(missing_docs, clippy::unwrap_used)] // a bench stops at its first surprise

mod fixture;

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use waypost::attribution::mint::ClickId;
use waypost::model::click::Click;

use crate::fixture::{CODE, NOW_MS, SELLER, Signing};

// --- mint: the id and the two tokens, and the token that comes back -----------------------------------------------------

#[library_benchmark]
#[bench::now(NOW_MS)]
fn click_id(now_ms: u64) -> [u8; 36] {
    ClickId::mint(black_box(now_ms), black_box(&[9; 10])).text()
}

#[library_benchmark(setup = fixture::signing)]
#[bench::usual()]
fn cookie_token(mut signing: Signing) -> Signing {
    signing.ring.sign_cookie(NOW_MS, black_box(&fixture::cookie_claims()), &mut signing.out);
    signing
}

#[library_benchmark(setup = fixture::signing)]
#[bench::usual()]
fn url_token(mut signing: Signing) -> Signing {
    signing.ring.sign_url(&mut signing.memo, NOW_MS, SELLER, black_box(&fixture::url_claims()), &mut signing.out);
    signing
}

#[library_benchmark(setup = fixture::signing)]
#[bench::usual()]
fn verify_cookie(mut signing: Signing) -> Signing {
    let claims = signing.ring.verify_cookie(NOW_MS, black_box(&signing.cookie), &mut signing.payload);
    assert_eq!(claims.unwrap().code, CODE);
    signing
}

library_benchmark_group!(name = mint; benchmarks = click_id, cookie_token, url_token, verify_cookie);

// --- encode: the click's bytes, written by the worker and read by the shipper -------------------------------------------

fn room() -> Vec<u8> {
    Vec::with_capacity(4096)
}

fn encoded() -> Vec<u8> {
    let mut out = room();
    fixture::click().encode(&mut out);
    out
}

#[library_benchmark(setup = room)]
#[bench::usual()]
fn encode_click(mut out: Vec<u8>) -> Vec<u8> {
    black_box(fixture::click()).encode(&mut out);
    out
}

#[library_benchmark(setup = encoded)]
#[bench::usual()]
fn decode_click(bytes: Vec<u8>) -> Vec<u8> {
    black_box(Click::decode(black_box(&bytes)).unwrap());
    bytes
}

library_benchmark_group!(name = encode; benchmarks = encode_click, decode_click);

main!(library_benchmark_groups = mint, encode);

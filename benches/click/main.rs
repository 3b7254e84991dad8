//! The steps of a click, one by one, in instructions: `benches/run.sh`. Each is measured warm: buffers have grown, the
//! seller's key is derived; the setup is not counted.
#![allow(missing_docs, clippy::unwrap_used)] // a bench stops at its first surprise

mod fixture;

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use http::Request;
use waypost::attribution::mint::ClickId;
use waypost::client::Facts;
use waypost::edge::{Answer, target};
use waypost::links::destination::Fill;
use waypost::model::click::Click;

use crate::fixture::{Appending, CODE, Links, NOW_MS, SELLER, Signing, Visit};

// --- parse: what a request asks for, and what it says about who asks ----------------------------------------------------

fn in_app() -> Request<()> {
    let request = fixture::request("7Kq2ZpXa", None);
    black_box((target::read(&request), Facts::read(request.headers())));
    request
}

#[library_benchmark(setup = in_app)]
#[bench::in_app()]
fn parse_target(request: Request<()>) -> Request<()> {
    black_box(target::read(black_box(&request)));
    request
}

#[library_benchmark(setup = in_app)]
#[bench::in_app()]
fn parse_facts(request: Request<()>) -> Request<()> {
    black_box(Facts::read(black_box(request.headers())));
    request
}

library_benchmark_group!(name = parse; benchmarks = parse_target, parse_facts);

// --- answer: the whole of the pure function, parse, look-up, mint and encode included -----------------------------------

#[library_benchmark(setup = fixture::visit)]
#[bench::first("7Kq2ZpXa", false)]
#[bench::returning("7Kq2ZpXa", true)]
#[bench::unknown("7Kq2ZpXb", false)]
fn whole(mut visit: Visit) -> (Visit, Answer) {
    let answer = visit.edge.answer(black_box(&visit.request), &visit.moment, &mut visit.scratch);
    (visit, answer)
}

library_benchmark_group!(name = answer; benchmarks = whole);

// --- append: the click into its lane ------------------------------------------------------------------------------------

#[library_benchmark(setup = fixture::appending)]
#[bench::usual()]
fn into_ring(mut appending: Appending) -> Appending {
    assert!(appending.lane.room(appending.click.len()));
    black_box(appending.lane.append(0, black_box(&appending.click)).is_ok());
    appending
}

library_benchmark_group!(name = append; benchmarks = into_ring);

// --- look-up: the table, and the destination of a found link ------------------------------------------------------------

type Asked = (Links, &'static [u8]);

fn asked(code: &'static [u8]) -> Asked {
    let links = fixture::links();
    black_box(links.table.get(links.domain, code).is_some());
    (links, code)
}

#[library_benchmark(setup = asked)]
#[bench::known(CODE)]
#[bench::unknown(b"7Kq2ZpXb")]
#[bench::longest_unknown(&[b'x'; 64])]
fn look_up((links, code): Asked) -> Asked {
    black_box(links.table.get(links.domain, black_box(code)).is_some());
    (links, code)
}

fn rendered() -> Links {
    let mut links = fixture::links();
    let id = fixture::click_id().text();
    let fill = Fill { click_id: &id, token: Some(&[b'k'; 86]), query: b"igsh=MzRlODBiNWFlZA==", token_param: b"wp" };
    let found = links.table.get(links.domain, CODE).unwrap();
    assert!(black_box(found.skeleton()).render(black_box(&fill), &mut links.out).is_some());
    drop(found);
    links.out.clear();
    links
}

#[library_benchmark(setup = rendered)]
#[bench::usual()]
fn destination(mut links: Links) -> Links {
    let id = fixture::click_id().text();
    let fill = Fill { click_id: &id, token: Some(&[b'k'; 86]), query: b"igsh=MzRlODBiNWFlZA==", token_param: b"wp" };
    let found = links.table.get(links.domain, CODE).unwrap();
    black_box(found.skeleton()).render(black_box(&fill), &mut links.out);
    drop(found);
    links
}

library_benchmark_group!(name = links; benchmarks = look_up, destination);

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

main!(library_benchmark_groups = parse, links, mint, encode, answer, append);

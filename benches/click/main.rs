//! Instruction counts of the steps of a click; `benches/run.sh` prints them. Each step is measured warm, with grown
//! buffers and derived keys, and its setup is not counted.
#![allow(missing_docs, clippy::unwrap_used)] // a bench stops at its first failure

mod fixture;

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use http::Request;
use waypost::attribution::click_id::ClickId;
use waypost::client::request_facts::RequestFacts;
use waypost::edge::answer::Answer;
use waypost::edge::target::RequestTarget;
use waypost::links::destination::PlaceholderValues;
use waypost::links::domains::{self, Domains};
use waypost::model::click::Click;

use crate::fixture::{Appending, CODE, Links, NOW_MS, SELLER, Setup, Signing, Visit};

// As in the product, so that an allocation costs the same.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// --- parse: the request's target, and its facts about the client

fn in_app() -> Request<()> {
    let request = fixture::request("7Kq2ZpXa", None);
    black_box(RequestFacts::read_all_headers(request.headers()));
    request
}

fn in_app_with_domains() -> (Request<()>, Domains) {
    let (request, domains) = (in_app(), Domains::new(&domains::Config::default()).unwrap());
    black_box(RequestTarget::reject_or_classify_and_find_domain(&request, &domains));
    (request, domains)
}

#[library_benchmark(setup = in_app_with_domains)]
#[bench::in_app()]
fn parse_target((request, domains): (Request<()>, Domains)) -> (Request<()>, Domains) {
    black_box(RequestTarget::reject_or_classify_and_find_domain(black_box(&request), &domains));
    (request, domains)
}

#[library_benchmark(setup = in_app)]
#[bench::in_app()]
fn parse_facts(request: Request<()>) -> Request<()> {
    black_box(RequestFacts::read_all_headers(black_box(request.headers())));
    request
}

library_benchmark_group!(name = parse; benchmarks = parse_target, parse_facts);

// --- answer: the whole pure function, with parse, look-up, mint and encode

#[library_benchmark(setup = fixture::visit)]
#[bench::first("7Kq2ZpXa", false)]
#[bench::returning("7Kq2ZpXa", true)]
#[bench::unknown("7Kq2ZpXb", false)]
fn whole(mut visit: Visit) -> (Visit, Answer) {
    let answer = visit.edge.answer_and_encode_click(black_box(&visit.request), &visit.context, &mut visit.scratch);
    (visit, answer)
}

// The first visit in setups that the three cases of `whole` do not have.
#[library_benchmark(setup = fixture::visit_with)]
#[bench::configured_domain("7Kq2ZpXa", false, Setup::ConfiguredDomain)]
#[bench::tls("7Kq2ZpXa", false, Setup::Tls)]
#[bench::proxy("7Kq2ZpXa", false, Setup::Proxy)]
#[bench::long_query("7Kq2ZpXa", false, Setup::LongQuery)]
#[bench::everything("7Kq2ZpXa", false, Setup::Everything)]
fn setups(mut visit: Visit) -> (Visit, Answer) {
    let answer = visit.edge.answer_and_encode_click(black_box(&visit.request), &visit.context, &mut visit.scratch);
    (visit, answer)
}

// The first visit to a link with targets, of which the last one decides.
#[library_benchmark(setup = fixture::visit_with_targets)]
#[bench::none(0)]
#[bench::one(1)]
#[bench::five(5)]
#[bench::twenty(20)]
fn targets(mut visit: Visit) -> (Visit, Answer) {
    let answer = visit.edge.answer_and_encode_click(black_box(&visit.request), &visit.context, &mut visit.scratch);
    (visit, answer)
}

// The first visit to a link with one target, which asks for a place in an MMDB file.
#[library_benchmark(setup = fixture::places::visit_with_condition)]
#[bench::country(r#"{"country":"US"}"#)]
#[bench::region(r#"{"region":"US-CA"}"#)]
fn places(mut visit: Visit) -> (Visit, Answer) {
    let answer = visit.edge.answer_and_encode_click(black_box(&visit.request), &visit.context, &mut visit.scratch);
    (visit, answer)
}

// The first visit to a link that lists hosts of next hops.
#[library_benchmark(setup = fixture::visit_with_next_hop)]
#[bench::named(true)]
#[bench::none(false)]
fn next_hop(mut visit: Visit) -> (Visit, Answer) {
    let answer = visit.edge.answer_and_encode_click(black_box(&visit.request), &visit.context, &mut visit.scratch);
    (visit, answer)
}

library_benchmark_group!(name = answer; benchmarks = whole, setups, targets, places, next_hop);

// --- append: the click into its lane

#[library_benchmark(setup = fixture::appending)]
#[bench::usual()]
fn into_ring(mut appending: Appending) -> Appending {
    assert!(appending.lane.try_make_room_for(appending.click.len()));
    black_box(appending.lane.append(black_box(&appending.click)).is_ok());
    appending
}

library_benchmark_group!(name = append; benchmarks = into_ring);

// --- look-up: the table, and the destination of a link

type LookUp = (Links, &'static [u8]);

fn look_up_of(code: &'static [u8]) -> LookUp {
    let links = fixture::links();
    black_box(links.table.get(links.domain, code).is_some());
    (links, code)
}

#[library_benchmark(setup = look_up_of)]
#[bench::known(CODE)]
#[bench::unknown(b"7Kq2ZpXb")]
#[bench::longest_unknown(&[b'x'; 64])]
fn look_up((links, code): LookUp) -> LookUp {
    black_box(links.table.get(links.domain, black_box(code)).is_some());
    (links, code)
}

fn rendered() -> Links {
    let mut links = fixture::links();
    let id = fixture::click_id().text();
    let fill = PlaceholderValues {
        click_id: &id,
        token: Some(&[b'k'; 86]),
        query: b"igsh=MzRlODBiNWFlZA==",
        token_param: b"wp",
    };
    let found = links.table.get(links.domain, CODE).unwrap();
    assert!(black_box(found.url_template()).render_and_return_token_offset(black_box(&fill), &mut links.out).is_some());
    drop(found);
    links.out.clear();
    links
}

#[library_benchmark(setup = rendered)]
#[bench::usual()]
fn destination(mut links: Links) -> Links {
    let id = fixture::click_id().text();
    let fill = PlaceholderValues {
        click_id: &id,
        token: Some(&[b'k'; 86]),
        query: b"igsh=MzRlODBiNWFlZA==",
        token_param: b"wp",
    };
    let found = links.table.get(links.domain, CODE).unwrap();
    black_box(found.url_template()).render_and_return_token_offset(black_box(&fill), &mut links.out);
    drop(found);
    links
}

library_benchmark_group!(name = links; benchmarks = look_up, destination);

// --- mint: the id and the two tokens, and the check of a returning token

#[library_benchmark]
#[bench::now(NOW_MS)]
fn click_id(now_ms: u64) -> [u8; 36] {
    ClickId::mint(black_box(now_ms), black_box(&[9; 10])).text()
}

#[library_benchmark(setup = fixture::signing)]
#[bench::usual()]
fn cookie_token(mut signing: Signing) -> Signing {
    signing.ring.sign_and_append_cookie_token(NOW_MS, black_box(&fixture::cookie_claims()), &mut signing.out);
    signing
}

#[library_benchmark(setup = fixture::signing)]
#[bench::usual()]
fn url_token(mut signing: Signing) -> Signing {
    signing.ring.sign_and_append_url_token_and_return_key_id(
        &mut signing.cache,
        NOW_MS,
        SELLER,
        black_box(&fixture::url_claims()),
        &mut signing.out,
    );
    signing
}

#[library_benchmark(setup = fixture::signing)]
#[bench::usual()]
fn verify_cookie_token(mut signing: Signing) -> Signing {
    let claims = signing.ring.verify_cookie_token(NOW_MS, black_box(&signing.cookie), &mut signing.payload);
    assert_eq!(claims.unwrap().code, CODE);
    signing
}

library_benchmark_group!(name = mint; benchmarks = click_id, cookie_token, url_token, verify_cookie_token);

// --- encode: the click's bytes, written by the worker and read by the delivery

fn empty_buffer() -> Vec<u8> {
    Vec::with_capacity(4096)
}

fn encoded() -> Vec<u8> {
    let mut out = empty_buffer();
    fixture::click().encode(&mut out);
    out
}

#[library_benchmark(setup = empty_buffer)]
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

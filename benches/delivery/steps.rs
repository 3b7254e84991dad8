//! What the steps of the delivery work on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext, types::RDKafkaApiKey};
use waypost::{
    events::{ClickIdentity, ClickLabels, DecodedClick, DuplicateConfig, DuplicateVerdict, EventBuilder},
    model::click::{Click, Text, Topic},
    sinks::kafka::hand_over::HandOver,
};

use crate::fixture::{self, Setup};

/// The identity of each click here.
pub(crate) const IDENTITY: ClickIdentity<'static> =
    ClickIdentity { edge: "edge-7f3a", lane: 1, epoch: 1_794_900_000_000, seq: 48_213, safe: 48_190 };

/// The clicks of each of five time slots that busy filters remember: 4 000 clicks/s, two filters a slot.
const CLICKS_PER_SLOT: u64 = 20_000;
/// Half of the usual window.
const SLOT_MS: u64 = 5_000;

/// What a click says.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    /// The request of `fixture::visit_with`, by a returning buyer or not.
    Usual(bool, Setup),
    /// Texts that are not UTF-8, or have quotes and control characters: each has to be escaped.
    Hostile,
}

/// What the filters of duplicates remember.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Traffic {
    /// Another click in each slot that is compared.
    Quiet,
    /// The same click.
    Repeated,
    /// [`CLICKS_PER_SLOT`] clicks in each slot that is compared.
    Busy,
}

/// One click, and all that the delivery has made of it so far.
pub(crate) struct Step {
    pub(crate) bytes: &'static [u8],
    pub(crate) builder: EventBuilder,
    pub(crate) click: DecodedClick<'static>,
    pub(crate) labels: ClickLabels,
    pub(crate) verdict: DuplicateVerdict,
    pub(crate) out: Vec<u8>,
}

impl Step {
    /// Judges five hundred clicks of other buyers.
    pub(crate) fn judge_five_hundred(&mut self) {
        let Step { builder, click, labels, .. } = self;
        for number in 0..500_u32 {
            click.click.address = Some(std::net::Ipv4Addr::from(number).into());
            click.click.visitor = Some((u128::from(number) << 64).to_be_bytes());
            builder.decide_duplicate_and_remember_if_it_can_count(Topic::Clicks, click, labels);
        }
    }
}

/// The bytes that the worker writes for a request.
pub(crate) fn recorded(returning: bool, setup: Setup) -> &'static [u8] {
    let mut visit = fixture::visit_with(str::from_utf8(fixture::CODE).unwrap(), returning, setup);
    visit.edge.answer_and_encode_click(&visit.request, &visit.context, &mut visit.scratch);
    visit.scratch.click.leak()
}

/// A click with these texts instead of its own.
fn with_texts(bytes: &'static [u8], texts: &[(Text, &'static [u8])]) -> &'static [u8] {
    let mut click = Click::decode(bytes).unwrap();
    texts.iter().for_each(|(text, value)| click.texts[*text as usize] = value);
    let mut out = Vec::new();
    click.encode(&mut out);
    out.leak()
}

/// A click that is labelled and judged.
pub(crate) fn step(content: Content, traffic: Traffic) -> Step {
    let bytes = match content {
        Content::Usual(returning, setup) => recorded(returning, setup),
        Content::Hostile => with_texts(
            recorded(false, Setup::Plain),
            &[
                (Text::UserAgent, b"\xff\"\\\n".repeat(128).leak()),
                (Text::Referer, "\u{b9c1}\u{d06c}\"".repeat(73).into_bytes().leak()),
                (Text::AcceptLanguage, &[b'\x01'; 64]),
            ],
        ),
    };
    step_of(bytes, traffic)
}

/// A click of the longest agent, which the labeller has not met.
pub(crate) fn step_with_new_agent() -> Step {
    let agent = "Mozilla/5.0 (compatible; a new one) ".repeat(15).into_bytes().leak();
    let mut step =
        step_of(with_texts(recorded(false, Setup::Plain), &[(Text::UserAgent, &agent[..512])]), Traffic::Quiet);
    step.builder = EventBuilder::new(&DuplicateConfig::default()).unwrap();
    step
}

/// What the events of a step are labelled with, beside the labels of every event.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Labelled {
    /// Device and browser of an agent that the labeller has met.
    Device,
    /// Device and browser of an agent that the labeller has not met.
    NewDevice,
    /// Country, region and network of the address.
    Place,
}

/// A click of a first visit, whose event has these labels too.
pub(crate) fn step_labelled(labelled: Labelled) -> Step {
    let mut step = step(Content::Usual(false, Setup::Plain), Traffic::Quiet);
    let builder = EventBuilder::new(&DuplicateConfig::default()).unwrap();
    step.builder = match labelled {
        Labelled::Device | Labelled::NewDevice => builder.with_device_labels(true),
        Labelled::Place => builder.with_geoip(Arc::new(ArcSwap::from_pointee(fixture::places::databases()))),
    };
    // The regular expressions build parts of their automata when they are first used, so an agent that is new is new to
    // the labeller alone.
    let mut warm = step.click.click;
    if labelled == Labelled::NewDevice {
        warm.texts[Text::UserAgent as usize] = [fixture::AGENT, " "].concat().leak().as_bytes();
    }
    let mut bytes = Vec::new();
    warm.encode(&mut bytes);
    let warm = DecodedClick::decode(bytes.leak()).ok().unwrap();
    step.builder.append_event_json(&mut step.out, &IDENTITY, &warm, &step.labels, step.verdict);
    let expected = if labelled == Labelled::Place { "\"region\":\"US-CA\"" } else { "\"browser\":\"Instagram\"" };
    assert!(std::str::from_utf8(&step.out).unwrap().contains(expected));
    step.out.clear();
    step
}

fn step_of(bytes: &'static [u8], traffic: Traffic) -> Step {
    let mut builder = EventBuilder::new(&DuplicateConfig::default()).unwrap();
    let click = DecodedClick::decode(bytes).ok().unwrap();
    let labels = builder.compute_labels(&click);
    let mut remember =
        |click: &DecodedClick<'_>| builder.decide_duplicate_and_remember_if_it_can_count(Topic::Clicks, click, &labels);
    match traffic {
        Traffic::Repeated => {
            remember(&click);
        }
        Traffic::Quiet | Traffic::Busy => {
            let clicks_per_slot = if traffic == Traffic::Quiet { 1 } else { CLICKS_PER_SLOT };
            let mut other = DecodedClick::decode(bytes).ok().unwrap();
            for slot in 0..5 {
                other.click.at_ms = click.click.at_ms + slot * SLOT_MS - 2 * SLOT_MS;
                for number in 0..clicks_per_slot {
                    let mut address = [0; 16];
                    address[..8].copy_from_slice(&(slot * clicks_per_slot + number).to_be_bytes());
                    other.click.address = Some(std::net::Ipv6Addr::from(address).into());
                    remember(&other);
                }
            }
        }
    }
    let mut out = Vec::with_capacity(16 << 10);
    builder.append_event_json(&mut out, &IDENTITY, &click, &labels, DuplicateVerdict::First);
    out.clear();
    Step { bytes, builder, click, labels, verdict: DuplicateVerdict::First, out }
}

/// A producer that knows its topic, and an event for it.
pub(crate) struct Producer {
    hand_over: HandOver,
    click: Click<'static>,
    event: Vec<u8>,
    now: Instant,
    _cluster: MockCluster<'static, DefaultProducerContext>,
}

/// A producer that has sent records before.
pub(crate) fn producer() -> Producer {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("clicks", 4, 1).unwrap();
    // From version 10 on it names the new leader in its answer, and ends the process where there is none.
    cluster.apiversion(RDKafkaApiKey::Produce, Some(0), Some(9)).unwrap();
    let hand_over = HandOver::connect(&cluster.bootstrap_servers(), Duration::from_secs(60)).unwrap();
    let mut step = step(Content::Usual(true, Setup::Plain), Traffic::Quiet);
    step.builder.append_event_json(&mut step.out, &IDENTITY, &step.click, &step.labels, step.verdict);
    let mut producer =
        Producer { hand_over, click: step.click.click, event: step.out, now: Instant::now(), _cluster: cluster };
    producer.hand_over_a_hundred();
    producer
}

impl Producer {
    /// Hands the click over a hundred times. Its visitor changes, as the partition does.
    pub(crate) fn hand_over_a_hundred(&mut self) {
        for number in 0..100 {
            self.click.visitor = Some([number; 16]);
            assert!(self.hand_over.try_hand_over(&self.click, &self.event, self.now));
        }
    }
}

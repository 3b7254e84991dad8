//! The loop: journal to sink. A round, in this order:
//!
//! 1. The sink does what is due (syncs, takes reports) and says what was delivered and what came back.
//! 2. What came back is read from the journal again and sent, if its topic's gate says so (`again`).
//! 3. New clicks are read, the lane whose clicks are oldest first; both topics in one pass where they stand at the same
//!    position, each on its own where one had to wait.
//! 4. Prefixes advance, and the journal is told up to where each lane is delivered.
//!
//! Then a pause: none behind a backlog, 2 ms while clicks come, 20 ms when idle.

mod again;
mod drain;
mod hear;

use std::time::{Duration, Instant};

use self::again::Label;
use super::{
    Summary,
    dead::DeadLetters,
    duplicate::Verdict,
    gate::{Gate, Held, Turn},
    lane::{LaneState, TOPICS},
    letter::{Taken, Ticket, Word},
    numbers::Numbers,
    press::{Parcel, Press},
    sink::Sink,
    statement::{self, Kind},
    track::{PROVED, State, Track},
};
use crate::{
    clock, faults,
    journal::{BATCH, Batch, Frame, Mark, ReadError},
    lifecycle::Stop,
    model::click::Topic,
};

/// The pause between rounds while clicks come.
const PAUSE: Duration = Duration::from_millis(2);
/// The pause once nothing came for [`IDLE_AFTER`] rounds.
const IDLE: Duration = Duration::from_millis(20);
const IDLE_AFTER: u32 = 25;
/// A lane that holds more than this behind what was read is a backlog: the next round follows at once.
const BACKLOG: u64 = BATCH as u64 / 4;
/// Clicks read beyond one that cannot be delivered, as a multiple of what may be in flight; then its topic stops.
const AHEAD: usize = 4;
/// Checkpoints learn of the sink's place at least this often, so that the next start reads little; gauges are set as often.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// A lane whose segment could not be read is left alone for so long.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// Steps by which a refused timestamp is moved before the record counts as refused for what it holds.
const CLAMPS: u8 = 14;
const UNREADABLE: &str =
    "a click of a newer build's format: it waits, and its topic in this lane behind it, for a build that reads it";
/// How long the lanes' last words may take at the end.
const SETTLING: Duration = Duration::from_secs(2);
/// How long counting what stays behind may take at the end.
const COUNTING: Duration = Duration::from_secs(1);

/// The shipper at work; owned by its thread.
pub(super) struct Ship {
    edge: String,
    most_in_flight: usize,
    pub(super) lanes: Vec<LaneState>,
    /// The lanes by the time of their last click read; kept for its allocation.
    order: Vec<usize>,
    sink: Sink,
    press: Press,
    dead: DeadLetters,
    numbers: Numbers,
    gates: [Gate; TOPICS],
    batch: Batch,
    words: Vec<Word>,
    noted_at: Instant,
    delivered: [u64; TOPICS],
    /// Of these, what the sink had already though the journal did not know.
    found: [u64; TOPICS],
}

/// What a round found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    /// Something was read, sent or heard.
    moved: bool,
    /// There is much more to read.
    more: bool,
}

impl Ship {
    /// Ready to run over these lanes into this sink.
    ///
    /// # Errors
    /// The table of agents does not fit its automaton.
    pub(super) fn new(
        edge: String,
        most_in_flight: usize,
        sink: Sink,
        lanes: Vec<LaneState>,
        dead: DeadLetters,
        duplicate: &super::DuplicateConfig,
    ) -> Result<Ship, aho_corasick::BuildError> {
        let now = Instant::now();
        Ok(Ship {
            edge,
            most_in_flight,
            order: (0..lanes.len()).collect(),
            lanes,
            sink,
            press: Press::new(duplicate)?,
            dead,
            numbers: Numbers::new(),
            gates: [Gate::default(), Gate::default()],
            batch: Batch::default(),
            words: Vec::new(),
            // The first round notes where the sink stands: a crash within the first second then reads little.
            noted_at: now.checked_sub(NOTE_EVERY).unwrap_or(now),
            delivered: [0; TOPICS],
            found: [0; TOPICS],
        })
    }

    /// Ships until `stop`; then what can be shipped within `drain`, and says what stays.
    pub(super) fn run(mut self, stop: &Stop, drain: Duration) -> Summary {
        let mut idle = 0;
        while !stop.is_set() {
            let round = self.round(Instant::now(), false);
            idle = if round.moved { 0 } else { idle + 1 };
            if !round.more {
                std::thread::sleep(if idle > IDLE_AFTER { IDLE } else { PAUSE });
            }
        }
        let deadline = Instant::now() + drain;
        loop {
            let now = Instant::now();
            let round = self.round(now, true);
            if self.lanes.iter().all(LaneState::done) || now >= deadline {
                self.say_last(now);
                return self.summary();
            }
            if !round.more {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// One round; with `all`, whatever the sink has gathered is written and synced now.
    pub(super) fn round(&mut self, now: Instant, all: bool) -> Round {
        let mut round = Round::default();
        round.moved |= self.tend(now, all);
        let mut room = [0; TOPICS];
        for topic in Topic::ALL {
            // Nothing is read for a sink that takes nothing: it would be read again in each round.
            if self.sink.page(topic, now).is_none() {
                continue;
            }
            match self.gates[topic as usize].turn(&self.held(topic), self.most_in_flight, now) {
                Turn::Wait => {}
                Turn::New(most) => room[topic as usize] = most,
                Turn::Again(refusals, most) => round.moved |= self.send_again(topic, refusals, most, now),
            }
        }
        let mut order = std::mem::take(&mut self.order);
        order.sort_by_key(|lane| self.lanes[*lane].read_ms);
        for lane in order.iter().copied() {
            let read = self.read_on(lane, &mut room, now);
            round.moved |= read.moved;
            round.more |= read.more;
        }
        self.order = order;
        if all {
            round.moved |= self.tend(now, true);
        }
        self.acknowledge(now);
        round
    }

    /// Lets the sink do what is due, and hears what it has to say.
    fn tend(&mut self, now: Instant, all: bool) -> bool {
        let lanes = &self.lanes;
        // Nothing else is sent while something is on trial.
        let all = all || Topic::ALL.iter().any(|topic| self.held(*topic).on_trial > 0);
        let found = self.sink.tend(now, all, &mut self.words, &|| lanes.iter().map(LaneState::upto).collect());
        let heard = self.hear(now);
        let Some(found) = found else { return heard };
        match self.lanes.iter().find_map(|lane| lane.contradicts(&found)) {
            Some(why) => self.sink.halt(why, &mut self.words),
            None => self.lanes.iter_mut().for_each(|lane| lane.resume(&found)),
        }
        true
    }

    /// What a topic holds over all lanes.
    fn held(&self, topic: Topic) -> Held {
        let mut held = Held::default();
        for lane in &self.lanes {
            let track = &lane.tracks[topic as usize];
            held.in_flight += track.in_flight();
            held.on_trial += track.on_trial();
            for (sum, failed) in held.failed.iter_mut().zip(track.failed()) {
                *sum += failed;
            }
        }
        held
    }

    /// Reads a lane on by at most a batch. `room` is what each topic may still send in this round.
    fn read_on(&mut self, lane: usize, room: &mut [usize; TOPICS], now: Instant) -> Round {
        let state = &mut self.lanes[lane];
        if state.unreadable_until.is_some_and(|until| now < until) {
            return Round::default();
        }
        let open = |topic: usize| {
            let track = &state.tracks[topic];
            room[topic] > 0 && !track.barred() && track.ahead() < AHEAD * self.most_in_flight
        };
        let Some(from) = (0..TOPICS).filter(|topic| open(*topic)).map(|topic| state.tracks[topic].next()).min() else {
            return Round::default();
        };
        // Topics that stand elsewhere have seen these frames, or have to wait.
        let mut reading: [bool; TOPICS] =
            std::array::from_fn(|topic| open(topic) && state.tracks[topic].next() == from);
        let mut batch = std::mem::take(&mut self.batch);
        if let Err(why) = state.reader.read(from, &mut batch) {
            self.not_read(lane, &why, now);
            self.batch = batch;
            return Round::default();
        }
        state.unreadable_until = None;
        state.safe = Topic::ALL.map(|topic| state.reader.safe(topic as u8));
        for frame in batch.frames() {
            let topic = usize::from(frame.stream);
            if !reading.get(topic).is_some_and(|reading| *reading) {
                continue;
            }
            if room[topic] == 0 || !self.take(lane, Topic::ALL[topic], &frame, now) {
                reading[topic] = false;
                self.lanes[lane].tracks[topic].go_on(frame.pos);
                if reading == [false; TOPICS] {
                    break;
                }
                continue;
            }
            room[topic] -= 1;
        }
        let state = &mut self.lanes[lane];
        for topic in (0..TOPICS).filter(|topic| reading[*topic]) {
            state.tracks[topic].go_on(batch.next());
        }
        let blocked = reading == [false; TOPICS];
        let round = Round {
            moved: !batch.is_empty(),
            more: !blocked && state.reader.head().saturating_sub(batch.next()) > BACKLOG,
        };
        self.batch = batch;
        round
    }

    /// Labels and sends one click that was not read before; `false` if it stays unread: the sink has no room, or it cannot be read.
    fn take(&mut self, lane: usize, topic: Topic, frame: &Frame<'_>, now: Instant) -> bool {
        let track = &mut self.lanes[lane].tracks[topic as usize];
        if track.has(frame) {
            // Delivered by the last run. What the journal did not know of that it counts as recovered, so it is counted here.
            let mark = Mark { epoch: frame.epoch, next: frame.seq };
            if mark >= self.lanes[lane].counted[topic as usize] {
                self.numbers.found.increment(1);
                self.numbers.delivered[topic as usize].increment(1);
                self.delivered[topic as usize] += 1;
                self.found[topic as usize] += 1;
            }
            return true;
        }
        let Ok(parcel) = Parcel::open(frame.payload) else {
            track.bar(clock::wall_ms());
            self.numbers.unreadable.increment(1);
            let lane = self.lanes[lane].reader.lane();
            faults::say!(
                error,
                faults::CLICK_UNREADABLE,
                lane,
                epoch = frame.epoch,
                seq = frame.seq,
                topic = topic.name(),
                "{UNREADABLE}"
            );
            return false;
        };
        if track.has_beyond(frame) {
            // Its place is kept, for what is committed next has to cover it too.
            self.numbers.found.increment(1);
            self.found[topic as usize] += 1;
            track.push(frame, parcel.click.at_ms, Verdict::First, State::Delivered, 0);
            return true;
        }
        // Asked before the click is judged: a click judged twice would be its own duplicate.
        if self.sink.page(topic, now).is_none() {
            return false;
        }
        let labels = self.press.label(&parcel);
        let verdict = self.press.judge(topic, &parcel, &labels);
        self.numbers.labelled(labels.class, verdict);
        let clamps = self.gates[topic as usize].clamps(now);
        let track = &mut self.lanes[lane].tracks[topic as usize];
        let number = track.push(frame, parcel.click.at_ms, verdict, State::InFlight, clamps);
        self.lanes[lane].read_ms = parcel.click.at_ms;
        let ticket = Ticket { lane, topic, number };
        match self.post(&parcel, frame, ticket, Label { labels: &labels, verdict, clamps, stub: None }, now) {
            Taken::Yes => {}
            Taken::Later => self.lanes[lane].tracks[topic as usize].fail(number),
            Taken::Refused(refusal) => self.hear_one(ticket, Err(refusal), now),
        }
        true
    }

    fn not_read(&mut self, lane: usize, why: &ReadError, now: Instant) {
        let state = &mut self.lanes[lane];
        self.numbers.read_errors.increment(1);
        if state.unreadable_until.is_none() {
            faults::say!(error, faults::JOURNAL_UNREAD, lane = state.reader.lane(), "{why}");
        }
        state.unreadable_until = Some(now + READ_AGAIN);
    }

    /// Tells the journal how far each lane is delivered, and everybody how it goes.
    fn acknowledge(&mut self, now: Instant) {
        let wall_ms = clock::wall_ms();
        let note = self.sink.note();
        let noting = now.duration_since(self.noted_at) >= NOTE_EVERY;
        for lane in &mut self.lanes {
            for topic in Topic::ALL {
                let track = &mut lane.tracks[topic as usize];
                let since_ms = track.oldest_ms();
                let passed = track.advance(|reason| self.numbers.dead_lettered(topic, reason));
                if passed > 0 {
                    self.numbers.delivered[topic as usize].increment(passed);
                    self.delivered[topic as usize] += passed;
                    let delay_ms = since_ms.map_or(0, |at_ms| wall_ms.saturating_sub(at_ms));
                    self.numbers.delay.record(delay_ms as f64 / 1e3);
                }
            }
            let prefix = lane.prefix();
            let marks = lane.tracks.each_ref().map(Track::delivered);
            if prefix != lane.acked || marks != lane.marks || noting {
                lane.reader.acknowledge(prefix, marks, note);
                (lane.acked, lane.marks) = (prefix, marks);
            }
        }
        if noting {
            self.noted_at = now;
            self.publish(now, wall_ms);
            self.state(false, now, wall_ms);
        }
    }

    /// The lanes' last words, and a while for them to arrive.
    fn say_last(&mut self, now: Instant) {
        self.state(true, now, clock::wall_ms());
        let lanes = &self.lanes;
        self.sink.settle(now + SETTLING, &|| lanes.iter().map(LaneState::upto).collect());
    }

    /// Lets the lanes that have something to say say it; each of them if this is the end.
    pub(super) fn state(&mut self, closing: bool, now: Instant, wall_ms: u64) {
        let clamps = self.gates.iter().map(Gate::moved).max().unwrap_or(0);
        for lane in &mut self.lanes {
            let standing = lane.reader.standing();
            while let Some(kind) = statement::due(lane, &standing, now, closing) {
                let names = Topic::ALL.map(|topic| self.sink.topic(topic));
                let value = statement::statement((&self.edge, names), kind, lane, &standing, wall_ms).to_string();
                if !self.sink.state(lane.reader.lane(), value.as_bytes(), wall_ms, clamps) {
                    break;
                }
                lane.says(standing.clone(), kind == Kind::Drained, now);
                // A lane that ends before it said that it began says both.
                if !closing || !kind.begins() {
                    break;
                }
            }
        }
    }

    fn publish(&mut self, now: Instant, wall_ms: u64) {
        for topic in Topic::ALL {
            let held = self.held(topic);
            self.gates[topic as usize].watch(self.sink.topic(topic), held.in_flight, now);
            self.numbers.in_flight[topic as usize].set(held.in_flight as f64);
            self.numbers.refused_alone[topic as usize]
                .set(held.failed[usize::from(PROVED)..].iter().sum::<usize>() as f64);
        }
        let oldest = self.lanes.iter().filter_map(LaneState::oldest_ms).min();
        self.numbers.oldest.set(oldest.map_or(0.0, |at_ms| wall_ms.saturating_sub(at_ms) as f64 / 1e3));
    }

    /// What was delivered, and what stays in the journal.
    fn summary(mut self) -> Summary {
        let mut summary = Summary { delivered: self.delivered, remaining: [0; TOPICS], counted_all: true };
        let deadline = Instant::now() + COUNTING;
        for lane in &mut self.lanes {
            summary.counted_all &= lane.count_remaining(&mut self.batch, deadline, &mut summary.remaining);
        }
        summary
    }
}

#[cfg(test)]
mod tests;

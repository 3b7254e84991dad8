//! Sending: what came back is read from the journal again; a click that is refused even alone becomes a dead letter first.

use std::{ops::RangeInclusive, time::Instant};

use super::Ship;
use crate::{
    journal::Frame,
    kafka::Refusal,
    model::click::{Click, Topic},
    shipper::{
        duplicate::Verdict,
        event::{self, Place},
        labels::Labels,
        lane::LaneState,
        letter::{Letter, Taken, Ticket},
        press::Parcel,
        track::{PROVED, Sent, State},
    },
};

/// What was decided about a click when it was read first, or is sent again with.
#[derive(Clone, Copy)]
pub(super) struct Label<'a> {
    pub(super) labels: &'a Labels,
    pub(super) verdict: Verdict,
    pub(super) clamps: u8,
    /// The click is a dead letter: why, and the size of its event.
    pub(super) stub: Option<(Refusal, u32)>,
}

impl Ship {
    /// Reads what came back from the journal again and sends it, oldest lane first.
    pub(super) fn send_again(&mut self, topic: Topic, refusals: RangeInclusive<u8>, most: usize, now: Instant) -> bool {
        let wanted = |state: State| matches!(state, State::Failed(count) if refusals.contains(&count));
        let mut batch = std::mem::take(&mut self.batch);
        let mut room = most;
        for lane in 0..self.lanes.len() {
            let state = &mut self.lanes[lane];
            if state.unreadable_until.is_some_and(|until| now < until) {
                continue;
            }
            let Some(from) = state.tracks[topic as usize].first_failed(|sent| wanted(sent.state)) else { continue };
            if let Err(why) = state.reader.read(from, &mut batch) {
                self.not_read(lane, &why, now);
                continue;
            }
            for frame in batch.frames().filter(|frame| frame.stream == topic as u8) {
                let Some(number) = self.lanes[lane].tracks[topic as usize].ticket_of(&frame) else { continue };
                let Some(sent) = self.lanes[lane].tracks[topic as usize].get(number).copied() else { continue };
                if room == 0 {
                    break;
                }
                if !wanted(sent.state) {
                    continue;
                }
                let ticket = Ticket { lane, topic, number };
                let Ok(parcel) = Parcel::open(frame.payload) else { continue };
                match self.post_again(&parcel, &frame, ticket, &sent, now) {
                    Taken::Yes => self.lanes[lane].tracks[topic as usize].sent_again(number),
                    Taken::Later => {
                        room = 0;
                        break;
                    }
                    Taken::Refused(refusal) => {
                        self.lanes[lane].tracks[topic as usize].sent_again(number);
                        self.hear_one(ticket, Err(refusal), now);
                    }
                }
                room -= 1;
            }
        }
        self.batch = batch;
        room < most
    }

    /// Sends one click that came back: as it is, or its stub once it is a dead letter.
    fn post_again(
        &mut self,
        parcel: &Parcel<'_>,
        frame: &Frame<'_>,
        ticket: Ticket,
        sent: &Sent,
        now: Instant,
    ) -> Taken {
        let labels = self.press.label(parcel);
        let mut label = Label { labels: &labels, verdict: sent.verdict, clamps: sent.clamps, stub: None };
        if let Some(reason) = sent.reason.filter(|_| sent.refusals >= PROVED) {
            // Not kept: the click itself is tried once more, for somebody may have raised the limit.
            let size = sent.dead.or_else(|| self.bury(parcel, frame, ticket, label, reason, now));
            label.stub = size.map(|size| (reason, size));
        }
        self.post(parcel, frame, ticket, label, now)
    }

    /// Puts a click that was refused alone into the dead-letter file; the size of its event, unless it cannot be written.
    fn bury(
        &mut self,
        parcel: &Parcel<'_>,
        frame: &Frame<'_>,
        ticket: Ticket,
        label: Label<'_>,
        reason: Refusal,
        now: Instant,
    ) -> Option<u32> {
        let place = place(&self.edge, &self.lanes[ticket.lane], frame);
        self.press.encode(self.dead.page(), &place, parcel, label.labels, label.verdict);
        let size = self.dead.keep(self.sink.topic(ticket.topic), reason, &place, now)?;
        self.lanes[ticket.lane].tracks[ticket.topic as usize].bury(ticket.number, size);
        Some(size)
    }

    /// Writes the event, or the stub in its place, and hands it over.
    pub(super) fn post(
        &mut self,
        parcel: &Parcel<'_>,
        frame: &Frame<'_>,
        ticket: Ticket,
        label: Label<'_>,
        now: Instant,
    ) -> Taken {
        let Some(page) = self.sink.page(ticket.topic, now) else { return Taken::Later };
        let place = place(&self.edge, &self.lanes[ticket.lane], frame);
        match label.stub {
            Some((reason, size)) => event::stub(page, &place, &parcel.click, reason, size),
            None => self.press.encode(page, &place, parcel, label.labels, label.verdict),
        }
        let Click { id, visitor, at_ms, .. } = &parcel.click;
        let (visitor, stub) = (visitor.as_ref(), label.stub.is_some());
        self.sink.post(&Letter { ticket, id, visitor, at_ms: *at_ms, clamps: label.clamps, stub })
    }
}

fn place<'a>(edge: &'a str, lane: &LaneState, frame: &Frame<'_>) -> Place<'a> {
    let (epoch, seq, safe) = (frame.epoch, frame.seq, lane.safe_for(frame));
    Place { edge, lane: lane.reader.lane(), epoch, seq, safe }
}

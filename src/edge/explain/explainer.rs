//! Asks the edge's functions about one request.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::Response;
use http_body_util::{Empty, Full};

use crate::{
    attribution::{click_id::ClickId, entropy::ClickEntropy},
    edge::{
        answer::Accounting,
        context::RequestContext,
        explain::{
            ExplainedAnswer, Explanation,
            checks::{LookedUp, list_checks},
            redaction::{Redaction, TOKEN},
            request::ExplainedRequest,
        },
        response::build_response_reusing_request_headers,
        scratch::ScratchBuffers,
        snapshot::Edge,
    },
    events::{DuplicateConfig, EventBuilder},
    geoip::Databases,
    model::click::Topic,
    net::peer::Peer,
};

/// Fields of an event that only a recorded click has.
const FIELDS_OF_RECORDED_CLICKS: [&str; 6] = ["click_id", "edge", "lane", "epoch", "seq", "safe"];

/// Explains requests. It remembers nothing of them.
pub struct Explainer {
    events: EventBuilder,
    /// What `events` labels addresses by: that of the edge that is explained.
    geoip: Arc<ArcSwap<Databases>>,
    scratch: ScratchBuffers,
}

impl Explainer {
    /// An explainer, which builds the tables that judge user agents.
    ///
    /// # Errors
    /// A table cannot be built; the server would not start either.
    pub fn new() -> Result<Explainer, String> {
        let geoip: Arc<ArcSwap<Databases>> = Arc::default();
        let events = EventBuilder::new(&DuplicateConfig::default()).map_err(|error| error.to_string())?;
        Ok(Explainer { events: events.with_geoip(geoip.clone()), geoip, scratch: ScratchBuffers::default() })
    }

    /// Explains the answer of this edge to a request.
    pub fn explain(&mut self, edge: &Edge, explained: &ExplainedRequest) -> Explanation {
        let context = build_context_without_entropy(explained);
        let request = &explained.request;
        let LookedUp { checks, domain, link } = list_checks(edge, request, &context, &mut self.scratch);
        let answer = edge.answer_and_encode_click(request, &context, &mut self.scratch);
        self.geoip.store(edge.geoip.clone());
        let topic = match answer.accounting {
            Accounting::Click { topic, .. } => Some(topic),
            Accounting::UnknownCode { .. } => Some(Topic::Orphan),
            Accounting::FixedPath | Accounting::HttpsRedirect | Accounting::Rejected(_) => None,
        };
        let id = ClickId::mint(context.id_ms, &context.entropy.click_id);
        let token =
            if topic.is_some() { String::from_utf8_lossy(&self.scratch.token).into_owned() } else { String::new() };
        let id = String::from_utf8_lossy(&id.text()).into_owned();
        let redaction = Redaction { replacements: vec![(token, TOKEN), (id, "{click_id}")] };
        let event = topic.and_then(|topic| self.build_event(topic, &redaction));
        let response = build_response_reusing_request_headers(answer, request.clone().map(|()| Empty::<Bytes>::new()));
        let answer = describe_response(response, &redaction);
        Explanation { domain, link, checks, answer, topic: topic.map(Topic::name), event }
    }

    /// The event of the click in the scratch buffers.
    fn build_event(&mut self, topic: Topic, redaction: &Redaction) -> Option<serde_json::Value> {
        let mut json = Vec::new();
        self.events.try_append_event_of_unrecorded_click(topic, &self.scratch.click, &mut json).then_some(())?;
        let text = redaction.redact(&String::from_utf8_lossy(&json));
        let mut event: serde_json::Value = serde_json::from_str(&text).ok()?;
        let fields = event.as_object_mut()?;
        let is_new_visitor = fields.get("visitor_new").is_some_and(|is_new| *is_new == true);
        let hidden_visitor = is_new_visitor.then_some("visitor_id");
        fields.retain(|name, _| {
            !FIELDS_OF_RECORDED_CLICKS.contains(&name.as_str()) && Some(name.as_str()) != hidden_visitor
        });
        Some(event)
    }
}

/// A request from the described client, else from this machine, with a lane that has room.
fn build_context_without_entropy(explained: &ExplainedRequest) -> RequestContext {
    let client = explained.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let peer = Peer { tls: explained.is_https, ..Peer::from_network(client) };
    RequestContext {
        peer,
        wall_ms: explained.at_ms,
        id_ms: explained.at_ms,
        entropy: ClickEntropy::default(),
        lane_has_room: true,
    }
}

fn describe_response(response: Response<Full<Bytes>>, redaction: &Redaction) -> ExplainedAnswer {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = response.headers().iter();
    ExplainedAnswer {
        status: response.status().as_u16(),
        headers: headers
            .map(|(name, value)| (name.to_string(), redaction.redact_header(name, &text(value.as_bytes()))))
            .collect(),
        body: redaction.redact(&read_whole_body(response.into_body())),
    }
}

/// The text of a body that is in memory.
fn read_whole_body(body: Full<Bytes>) -> String {
    use hyper::body::Body;
    let mut body = std::pin::pin!(body);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match body.as_mut().poll_frame(&mut context) {
        std::task::Poll::Ready(Some(Ok(frame))) => {
            frame.into_data().map(|data| String::from_utf8_lossy(&data).into_owned()).unwrap_or_default()
        }
        _ => String::new(),
    }
}

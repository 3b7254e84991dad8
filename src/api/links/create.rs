//! `POST /v1/links`: a new link, with a code of the client or a minted one.

use http::{HeaderValue, StatusCode, header};
use hyper::body::Incoming;
use jiff::Timestamp;

use super::{
    idempotency_key::{KeyInFlight, read_idempotency_key, to_catalog_key},
    location::path_of_link,
    record_body::{MAX_RECORD, RecordDefaults, WrittenRecord, read_record},
    refusal::{ExistingLink, problem_of_refusal},
};
use crate::{
    api::{
        accepted_change::{Awaited, wait_as_preferred},
        context::RequestContext,
        http::{
            conditions::etag_of_version,
            media_types::{JSON, check_body_type, check_client_accepts},
            problem::{Problem, ProblemKind},
            request_body::read_body,
            response::{ApiResponse, json_response},
        },
        reach::is_in_bounds,
    },
    catalog::{
        act::Act,
        change::{
            Batch, BatchMode, ChangeRow, ChangedLink, ExpectedLink, IdempotencyKey, LinkChange, LinkName, RowOutcome,
            RowRefusal,
        },
        many::ManyReport,
    },
    clock,
    model::link::record::Record,
};

/// Creates a link. A request that is sent again with its `Idempotency-Key` gets the answer of the first one.
pub(in crate::api) async fn create_link(context: RequestContext, body: Incoming) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["reason"])?;
    check_client_accepts(&context.headers, JSON)?;
    check_body_type(&context.headers, &[JSON])?;
    let act = context.new_act(&query)?;
    let key = read_idempotency_key(&context.headers)?;
    let in_flight = key.as_deref().map(|key| KeyInFlight::register(&context, key)).transpose()?;
    let body = read_body(body, MAX_RECORD).await?;
    let once = key.map(|key| to_catalog_key(&context, &key, &body));
    let defaults = RecordDefaults { code: Some(""), created_at: Some(now()), ..RecordDefaults::default() };
    let written = read_record(&body, &defaults)?;
    check_record_is_reached(&context, &written.record)?;
    let change = OneChange { act, row: put(written, ExpectedLink::Absent), once, in_flight };
    let outcome = match change.apply(&context).await? {
        Awaited::Ended(outcome) => outcome,
        Awaited::GoesOn(answer) => return Ok(answer),
    };
    match outcome {
        RowOutcome::Created(link) | RowOutcome::Updated(link) | RowOutcome::Unchanged(link) => {
            Ok(answer_with_link(StatusCode::CREATED, link))
        }
        RowOutcome::Refused(refusal) => Err(problem_of_refusal(refusal, ExistingLink::IsConflict)),
        RowOutcome::Deleted { .. } => Err(unexpected_outcome()),
    }
}

/// The time of the wall.
pub(in crate::api) fn now() -> Timestamp {
    i64::try_from(clock::wall_ms())
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The change that makes a link what a record says.
pub(in crate::api) fn put(written: WrittenRecord, expected: ExpectedLink) -> ChangeRow {
    let change = LinkChange::Put { record: Box::new(written.record), text: written.text };
    ChangeRow { change, expected }
}

/// Checks that the key may make the link of a record.
///
/// # Errors
/// The link would lie outside the bounds of the key.
pub(in crate::api) fn check_record_is_reached(context: &RequestContext, record: &Record) -> Result<(), Problem> {
    let edge = context.state.edge.load();
    let domain = edge.domains().find_by_name(&record.domain).map_or(&*record.domain, |domain| &domain.name);
    let (creator, partner) = (record.creator.as_deref(), record.partner.as_deref());
    if is_in_bounds(&context.key.bounds, domain, creator, partner) {
        return Ok(());
    }
    Err(Problem::new(ProblemKind::NotFound, "the link lies outside the domains, partners or creators of this API key"))
}

/// One change of one link.
pub(in crate::api) struct OneChange {
    pub(super) act: Act,
    pub(super) row: ChangeRow,
    /// The request that is carried out once.
    pub(super) once: Option<IdempotencyKey>,
    /// Keeps other requests with its key out until the change has ended.
    pub(super) in_flight: Option<KeyInFlight>,
}

impl OneChange {
    /// A change by a request without an `Idempotency-Key`.
    pub(super) const fn new(act: Act, row: ChangeRow) -> OneChange {
        OneChange { act, row, once: None, in_flight: None }
    }

    /// Applies the change, and waits for its end as long as the client wants.
    ///
    /// # Errors
    /// The catalog takes no change.
    pub(super) async fn apply(self, context: &RequestContext) -> Result<Awaited<RowOutcome>, Problem> {
        let OneChange { act, row, once, in_flight } = self;
        let name = name_of_change(&row.change);
        let batch = Batch { act: act.clone(), rows: vec![row], mode: BatchMode::Atomic, is_dry_run: false, once };
        let catalog = context.state.catalog.clone();
        let change = async move {
            let report = catalog.apply(batch).await?;
            Ok(report.outcomes.into_iter().next().unwrap_or(RowOutcome::Refused(RowRefusal::NotFound)))
        };
        let report = move |outcome: &RowOutcome| {
            let mut report = ManyReport::default();
            report.add(name, outcome.clone());
            report
        };
        wait_as_preferred(context, &act, in_flight, change, report).await
    }
}

fn name_of_change(change: &LinkChange) -> LinkName {
    match change {
        LinkChange::Put { record, .. } => LinkName { domain: record.domain.clone(), code: record.code.clone() },
        LinkChange::Patch { name, .. } | LinkChange::Delete { name } => name.clone(),
    }
}

/// The answer with a link behind its change; a new one with its address.
pub(in crate::api) fn answer_with_link(status: StatusCode, link: ChangedLink) -> ApiResponse {
    let location = (status == StatusCode::CREATED).then(|| path_of_link(&link.name));
    let mut response = json_response(status, link.record);
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag_of_version(link.version));
    if let Some(location) = location.and_then(|path| HeaderValue::from_str(&path).ok()) {
        headers.insert(header::LOCATION, location);
    }
    response
}

/// An outcome that the change cannot have.
pub(in crate::api) fn unexpected_outcome() -> Problem {
    Problem::new(ProblemKind::StoreFailing, "the catalog answered for another change")
}

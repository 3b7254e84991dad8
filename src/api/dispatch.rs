//! Which function answers which route.

use hyper::body::Incoming;

use super::{
    bulk,
    context::RequestContext,
    feed::{acts, changes, export, history},
    http::{problem::Problem, response::ApiResponse},
    links::{create, list, next_hop, qr_code, read, write},
    many,
    operator::{api_keys, domains, explain, openapi, status, suspensions},
    routes::{MatchedRoute, Route, Verb},
};
use crate::catalog::change::LinkName;

/// Answers a request.
///
/// # Errors
/// What the answer says instead.
pub(super) async fn answer_route(
    context: RequestContext,
    verb: Verb,
    matched: MatchedRoute,
    body: Incoming,
) -> Result<ApiResponse, Problem> {
    let mut parameters = matched.parameters.into_iter();
    let mut next = || parameters.next().unwrap_or_default();
    match (matched.route, verb) {
        (Route::Links, Verb::Post) => create::create_link(context, body).await,
        (Route::Links, _) => list::list_links(context).await,
        (Route::Link, verb) => {
            let name = link_name(&mut next);
            match verb {
                Verb::Put => write::put_link(context, name, body).await,
                Verb::Patch => write::patch_link(context, name, body).await,
                Verb::Delete => write::delete_link(context, name).await,
                Verb::Get | Verb::Post => read::read_link(context, name).await,
            }
        }
        (Route::LinkHistory, _) => history::read_history_of_link(context, link_name(&mut next)).await,
        (Route::LinkNextHop, _) => next_hop::write_next_hop_url(context, link_name(&mut next)).await,
        (Route::LinkQrCode, _) => qr_code::draw_qr_code(context, link_name(&mut next)).await,
        (Route::Bulk, _) => bulk::change_links_in_bulk(context, body).await,
        (Route::Export, _) => export::export_links(context).await,
        (Route::Audit, _) => history::read_audit(context).await,
        (Route::Acts, _) => acts::list_kept_changes(context).await,
        (Route::Act, _) => acts::read_act(context, next()).await,
        (Route::ActCancel, _) => many::cancel_change(context, next()).await,
        (Route::Changes, _) => changes::wait_for_changes(context).await,
        (Route::ActUndo, _) => many::undo_act(context, next()).await,
        (Route::Patches, _) => many::patch_matching_links(context, body).await,
        (Route::Rollback, _) => many::roll_back(context, body).await,
        (Route::Suspensions, _) => suspensions::list_suspensions(context).await,
        (Route::Suspension, Verb::Delete) => suspensions::delete_suspension(context, next(), next()).await,
        (Route::Suspension, _) => suspensions::put_suspension(context, next(), next(), body).await,
        (Route::Freeze, Verb::Delete) => suspensions::delete_freeze(context).await,
        (Route::Freeze, _) => suspensions::put_freeze(context, body).await,
        (Route::Domains, _) => domains::list_domains(context).await,
        (Route::Domain, Verb::Put) => domains::put_domain(context, next(), body).await,
        (Route::Domain, Verb::Delete) => domains::delete_domain(context, next()).await,
        (Route::Domain, _) => domains::read_domain(context, next()).await,
        (Route::Explain, _) => explain::explain_request(context, body).await,
        (Route::Rejected, _) => status::list_rejected_records(context).await,
        (Route::Status, _) => status::read_status(context).await,
        (Route::OpenApi, _) => openapi::read_openapi(&context),
        (Route::ApiKeys, Verb::Post) => api_keys::create_key(context, body).await,
        (Route::ApiKeys, _) => api_keys::list_keys(context).await,
        (Route::ApiKey, _) => api_keys::revoke_key(context, next()).await,
    }
}

/// The link that the next two parameters of a path name.
fn link_name(next: &mut impl FnMut() -> String) -> LinkName {
    LinkName { domain: next(), code: next() }
}

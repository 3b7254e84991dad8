//! Changes of many links by the API: they are started, then asked for until they end.

use std::{thread, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{
    bulk::refusal_of_problem,
    json::{name_of_path, parameters_of_filter, time_of_ms},
    not_found::none_if_not_found,
};
use crate::{
    catalog::{act::Act, many::ManyChange, query::LinkFilter},
    cli::{
        api_client::{ApiClient, ApiPath, ServerProblem},
        links::place::ManyOutcome,
    },
};

/// The first pause before the server is asked whether a change has ended, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Starts a change and waits for its end. A dry run is answered at once.
///
/// # Errors
/// The server refuses the change, or it broke off; what was changed by then stays changed.
pub(super) fn change_many_and_wait(
    client: &ApiClient,
    change: &ManyChange,
    act: &Act,
    is_dry_run: bool,
) -> Result<ManyOutcome> {
    let reason = |command: &str| reason_or_command(act, command);
    let (path, body) = match change {
        ManyChange::Patch { filter, patch } => (ApiPath::new("/v1/patches"), Some(body_of_patch(filter, patch, act))),
        ManyChange::Undo { act: undone } => {
            let path = ApiPath::new("/v1/acts").segment(undone).segment("undo");
            (path.optional_parameter("reason", act.reason.as_deref()), None)
        }
        ManyChange::RollBack { to_version } => {
            let body = json!({"to_version": to_version, "reason": reason("rollback")});
            (ApiPath::new("/v1/rollback"), Some(body))
        }
    };
    let path = path.parameter("dry_run", if is_dry_run { "true" } else { "false" });
    let answer = none_if_not_found(client.send_json("POST", &path, body.as_ref()))?;
    let answer = answer.with_context(|| match change {
        ManyChange::Undo { act } => format!("there is no act {act}; `waypost links history CODE` lists acts"),
        _ => "the server does not know this change; is it an older build?".to_owned(),
    })?;
    if is_dry_run {
        return Ok(outcome_of_report(&answer, String::new()));
    }
    let id = answer["act"].as_str().context("the server names no act")?;
    wait_for_end(client, id)
}

/// Asks the server to change links at a time. Gives the id of the act.
///
/// # Errors
/// The server refuses, or the change is no patch.
pub(super) fn schedule_change(client: &ApiClient, change: &ManyChange, act: &Act, effective_ms: u64) -> Result<String> {
    let ManyChange::Patch { filter, patch } = change else { bail!("only a patch waits for a time") };
    let mut body = body_of_patch(filter, patch, act);
    body["effective_at"] = time_of_ms(effective_ms).into();
    let answer = client.send_json("POST", &ApiPath::new("/v1/patches"), Some(&body))?;
    Ok(answer["act"].as_str().context("the server names no act")?.to_owned())
}

fn body_of_patch(filter: &LinkFilter, patch: &Value, act: &Act) -> Value {
    let filter: serde_json::Map<String, Value> =
        parameters_of_filter(filter).into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let all = filter.is_empty();
    json!({"filter": filter, "all": all, "patch": patch, "reason": reason_or_command(act, "patch")})
}

fn reason_or_command(act: &Act, command: &str) -> String {
    act.reason.clone().unwrap_or_else(|| format!("waypost links {command}"))
}

fn wait_for_end(client: &ApiClient, id: &str) -> Result<ManyOutcome> {
    let path = ApiPath::new("/v1/acts").segment(id).parameter("limit", "1");
    let (mut pause, longest) = PAUSES;
    loop {
        let progress = client.send_json("GET", &path, None)?["progress"].take();
        match progress["state"].as_str() {
            Some("running" | "scheduled") => {}
            Some("cancelled") => bail!("act {id} was cancelled; what is changed stays, and `links undo` takes it back"),
            Some("done") => return Ok(outcome_of_report(&progress["report"], id.to_owned())),
            Some("failed") => bail!(
                "act {id} broke off: {}; run the command again: what is changed stays",
                progress["error"].as_str().unwrap_or_default()
            ),
            _ => bail!("the server does not know how act {id} ended; `waypost links history` shows what it changed"),
        }
        thread::sleep(pause);
        pause = (pause * 2).min(longest);
    }
}

fn outcome_of_report(report: &Value, act: String) -> ManyOutcome {
    let count = |field: &str| report[field].as_u64().unwrap_or(0);
    let list = |field: &str| report[field].as_array().cloned().unwrap_or_default();
    let refused = list("refused_links").into_iter().filter_map(|refused| {
        let refusal = refusal_of_problem(ServerProblem::of_json(&refused["problem"]));
        Some((name_of_path(refused["link"].as_str()?), refusal.message))
    });
    ManyOutcome {
        act,
        changed: count("changed"),
        unchanged: count("unchanged"),
        refused_total: count("refused"),
        refused: refused.collect(),
        examples: list("examples").iter().filter_map(Value::as_str).map(name_of_path).collect(),
    }
}

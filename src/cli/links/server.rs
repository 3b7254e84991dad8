//! The links of a running server, by its API.

mod bulk;
mod json;
mod many;
mod not_found;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use self::{
    bulk::{BulkRequest, read_outcomes},
    json::{LinkPage, suspension_of_json},
    many::{change_many_and_wait, schedule_change},
    not_found::none_if_not_found,
};
use super::{
    history_text::history_of_api_item,
    place::{ChangeOutcome, LinkChanges, LinkPlace, ManyOutcome},
};
use crate::{
    catalog::{
        act::Act,
        change::LinkName,
        kept_changes::ChangeState,
        many::ManyChange,
        query::{LinkFilter, VersionedLink},
        suspension_rows::{NewSuspension, SuspensionRow},
    },
    cli::api_client::{ApiClient, ApiPath},
    links::suspensions::{Dimension, canonical_value},
};

/// Links of one page, and changes of a link that are shown: the most that a server gives.
const MAX_LIMIT: &str = "1000";
/// Changes of one request, which are one commit: other requests wait for it.
const CHANGES_AT_ONCE: usize = 1_000;

/// The links of a server.
pub(super) struct ServerLinks {
    client: ApiClient,
}

impl ServerLinks {
    pub(super) const fn new(client: ApiClient) -> ServerLinks {
        ServerLinks { client }
    }

    fn get_json(&self, path: &ApiPath) -> Result<Value> {
        self.client.send_json("GET", path, None)
    }
}

impl LinkPlace for ServerLinks {
    /// The server knows its domains.
    fn canonical_name(&self, name: LinkName) -> Result<LinkName> {
        Ok(name)
    }

    fn find_link(&self, name: &LinkName) -> Result<Option<VersionedLink>> {
        let found = none_if_not_found(self.client.get(&ApiPath::of_link(name)))?;
        let link = found.map(|answer| {
            let version = answer.version.context("the server gives no ETag with the link")?;
            Ok(VersionedLink { name: name.clone(), version, record: answer.body })
        });
        link.transpose()
    }

    fn count_links(&self) -> Result<u64> {
        Ok(self.get_json(&ApiPath::new("/v1/status"))?["links"].as_u64().unwrap_or(0))
    }

    fn changes_at_once(&self) -> usize {
        CHANGES_AT_ONCE
    }

    fn visit_records(&self, filter: &LinkFilter, visit: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        let mut path = ApiPath::new("/v1/links").parameter("limit", MAX_LIMIT);
        for (name, value) in json::parameters_of_filter(filter) {
            path = path.parameter(name, &value);
        }
        let mut cursor: Option<String> = None;
        loop {
            let answer = self.client.get(&path.clone().optional_parameter("cursor", cursor.as_deref()))?;
            let page: LinkPage<'_> = serde_json::from_str(&answer.body).context("the server gives no list of links")?;
            page.items.iter().try_for_each(|item| visit(item.record.get()))?;
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn list_history(&self, name: &LinkName) -> Result<Vec<Value>> {
        let path = ApiPath::of_link(name).segment("history").parameter("limit", MAX_LIMIT);
        let found = none_if_not_found(self.get_json(&path))?.unwrap_or_default();
        Ok(found["items"].as_array().into_iter().flatten().map(history_of_api_item).collect())
    }

    fn change_links(&self, changes: LinkChanges<'_>) -> Result<Vec<ChangeOutcome>> {
        let request = BulkRequest::of_changes(&changes);
        let answer = self.client.post_lines(&request.path, &request.lines)?;
        read_outcomes(&answer.body, changes.changes.len())
    }

    fn change_many(&self, change: &ManyChange, act: &Act, is_dry_run: bool) -> Result<ManyOutcome> {
        change_many_and_wait(&self.client, change, act, is_dry_run)
    }

    fn schedule_change(&self, change: &ManyChange, act: &Act, effective_ms: u64) -> Result<String> {
        schedule_change(&self.client, change, act, effective_ms)
    }

    fn list_kept_changes(&self, state: Option<ChangeState>) -> Result<Vec<Value>> {
        let path = ApiPath::new("/v1/acts").parameter("limit", MAX_LIMIT);
        let answer = self.get_json(&path.optional_parameter("state", state.map(ChangeState::as_str)))?;
        Ok(answer["items"].as_array().cloned().unwrap_or_default())
    }

    fn cancel_change(&self, id: &str, act: &Act) -> Result<()> {
        let path = ApiPath::new("/v1/acts").segment(id).segment("cancel");
        let path = path.optional_parameter("reason", act.reason.as_deref());
        let cancelled = none_if_not_found(self.client.send_json("POST", &path, None))?;
        cancelled.map(drop).with_context(|| format!("there is no change {id}; `waypost links acts` lists all"))
    }

    fn list_domains(&self) -> Result<Vec<Value>> {
        let answer = self.get_json(&ApiPath::new("/v1/domains"))?;
        Ok(answer["items"].as_array().cloned().unwrap_or_default())
    }

    fn put_domain(&self, host: &str, settings: Value, act: &Act) -> Result<Value> {
        self.client.send_json("PUT", &path_of_domain(host, act), Some(&settings))
    }

    fn delete_domain(&self, host: &str, act: &Act) -> Result<bool> {
        Ok(none_if_not_found(self.client.send_json("DELETE", &path_of_domain(host, act), None))?.is_some())
    }

    fn suspend(&self, suspension: &NewSuspension) -> Result<SuspensionRow> {
        let path = path_of_suspension(suspension.dimension, &suspension.value);
        let body = json!({
            "reason": suspension.reason,
            "until": suspension.until_ms.and_then(json::time_of_ms),
            "fallback_url": suspension.fallback_url,
        });
        suspension_of_json(&self.client.send_json("PUT", &path, Some(&body))?)
    }

    fn end_suspension(&self, dimension: Dimension, value: &str, act: &Act) -> Result<Option<SuspensionRow>> {
        let value = canonical_value(dimension, value);
        let suspensions = self.list_suspensions()?.into_iter();
        let Some(found) = suspensions.into_iter().find(|row| row.dimension == dimension && row.value == value) else {
            return Ok(None);
        };
        let path = path_of_suspension(dimension, &value).optional_parameter("reason", act.reason.as_deref());
        let ended = none_if_not_found(self.client.send_json("DELETE", &path, None))?;
        Ok(ended.map(|_| found))
    }

    fn list_suspensions(&self) -> Result<Vec<SuspensionRow>> {
        let answer = self.get_json(&ApiPath::new("/v1/suspensions"))?;
        answer["items"].as_array().into_iter().flatten().map(suspension_of_json).collect()
    }

    fn frozen_reason(&self) -> Result<Option<String>> {
        Ok(self.get_json(&ApiPath::new("/v1/status"))?["frozen"].as_str().map(str::to_owned))
    }

    fn freeze(&self, reason: &str) -> Result<()> {
        self.client.send_json("PUT", &ApiPath::new("/v1/freeze"), Some(&json!({ "reason": reason }))).map(drop)
    }

    fn unfreeze(&self) -> Result<()> {
        self.client.send_json("DELETE", &ApiPath::new("/v1/freeze"), None).map(drop)
    }
}

fn path_of_domain(host: &str, act: &Act) -> ApiPath {
    ApiPath::new("/v1/domains").segment(host).optional_parameter("reason", act.reason.as_deref())
}

fn path_of_suspension(dimension: Dimension, value: &str) -> ApiPath {
    ApiPath::new("/v1/suspensions").segment(dimension.as_str()).segment(value)
}

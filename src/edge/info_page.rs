//! `/CODE+`: a page that tells a person where a link leads, who earns by it and until when. It is no click, and sets no
//! cookie. A browser that goes on by the page's link makes the click.

use http::{Method, StatusCode};
use jiff::Timestamp;

use crate::{
    edge::{
        answer::{Accounting, Answer},
        context::RequestContext,
        pages::{Page, escape_html},
        snapshot::Edge,
        target::RequestedCode,
    },
    links::{Link, LinkState, domains::Domain},
    model::link::LinkFacts,
};

/// What stands behind the code.
const SIGN: u8 = b'+';

/// Answers a request for the page about a link. `None`: the request is not for such a page, or there is no such link.
pub(super) fn answer_if_asked(
    edge: &Edge,
    method: &Method,
    target: &RequestedCode<'_>,
    context: &RequestContext,
) -> Option<Answer> {
    let domain = target.host.domain;
    if !domain.info_page || (*method != Method::GET && *method != Method::HEAD) {
        return None;
    }
    let code = target.code.as_bytes().strip_suffix(&[SIGN])?;
    let link = edge.find_link(domain, code)?;
    Some(Answer::with_page(StatusCode::OK, describe_link(edge, &link, domain, context.wall_ms), Accounting::FixedPath))
}

fn describe_link(edge: &Edge, link: &Link, domain: &Domain, now_ms: u64) -> Page {
    let is_suspended = edge.suspensions.find(link, domain, now_ms).is_some();
    let state = if is_suspended { LinkState::Disabled } else { link.state_at(now_ms) };
    let facts = LinkFacts::decode(link.facts());
    let day_of = |time_ms: u64| {
        let time = i64::try_from(time_ms).ok().and_then(|time_ms| Timestamp::from_millisecond(time_ms).ok());
        time.map(|time| time.strftime("%-d %B %Y, %H:%M UTC").to_string())
    };
    let destination = String::from_utf8_lossy(link.url_template().text_without_placeholders()).into_owned();
    // A name, and HTML.
    let mut rows = vec![("Leads to", url_html_with_bold_host(address_before_query(&destination)))];
    if link.targets().is_some() || domain.default_targets.is_some() {
        rows.push(("Or", "to another page, by phone, app, place, language or time".to_owned()));
    }
    if let Some(hosts) = link.next_hop_hosts() {
        let hosts: Vec<&str> = hosts.iter().collect();
        rows.push(("Or", format!("to the page of {} that the link's address names", hosts.join(", "))));
    }
    if let Some(facts) = &facts {
        rows.extend(describe_who_earns(facts).map(|text| ("Who earns", escape_html(&text))));
        let end = facts.end_ms().and_then(day_of);
        rows.push(match (state, end) {
            (LinkState::Live, Some(end)) => ("Works until", end),
            (LinkState::Live, None) => ("Works until", "it is switched off".to_owned()),
            (LinkState::NotStarted, _) => ("Works from", day_of(link.starts_ms()).unwrap_or_default()),
            (LinkState::Expired, _) => ("State", "It has ended.".to_owned()),
            (LinkState::Disabled, _) => ("State", "It is switched off.".to_owned()),
        });
    }
    let rows: String = rows.iter().map(|(name, html)| format!("<dt>{name}</dt><dd>{html}</dd>")).collect();
    let code = String::from_utf8_lossy(link.code()).into_owned();
    let way_on =
        if state == LinkState::Live { format!("<a href=\"/{code}\">Follow the link</a>") } else { String::new() };
    Page::html_with_strict_policy("About this link", &format!("<h1>About this link</h1><dl>{rows}</dl>{way_on}"))
}

/// What stands behind is parameters, which tell a person little.
fn address_before_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// The URL as HTML. Its host is bold: it tells whose page this is, however long the rest.
fn url_html_with_bold_host(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return escape_html(url) };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{}://<b>{}</b>{}", escape_html(scheme), escape_html(host), escape_html(path))
}

/// Who gets commission for an order that comes by the link. `None`: nobody.
fn describe_who_earns(facts: &LinkFacts<'_>) -> Option<String> {
    let earner = [facts.creator, facts.partner].into_iter().find(|id| !id.is_empty())?;
    Some(if facts.rate_bp > 0 {
        format!("{earner} gets commission if you buy")
    } else {
        format!("The link was shared by {earner}")
    })
}

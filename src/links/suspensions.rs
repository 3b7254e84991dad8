//! Suspensions: all links of a creator, a seller, a host… are switched off at once, and not one link is changed. A
//! click asks this small set; where it is empty, that is one load.

use std::{collections::HashMap, iter};

use foldhash::fast::RandomState;

use crate::{
    links::{domains::Domain, link::Link},
    model::link::LinkFacts,
    word_enum::word_enum,
};

word_enum! {
    /// What the links of a suspension have in common.
    pub enum Dimension {
        /// The creator.
        Creator = "creator",
        /// The partner (agency).
        Partner = "partner",
        /// The seller.
        Seller = "seller",
        /// The campaign.
        Campaign = "campaign",
        /// The product.
        Product = "product",
        /// The domain of the code.
        Domain = "domain",
        /// The host of the destination, or of a target's.
        Host = "host",
    }
}

/// One suspension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// Its name in events: the dimension's word, a colon and the value.
    name: Box<str>,
    /// The time at which it ends, milliseconds since the epoch; `None`: when somebody ends it.
    until_ms: Option<u64>,
    /// Where its links lead meanwhile; `None`: where a disabled link leads.
    fallback_url: Option<Box<str>>,
}

impl Suspension {
    /// The name in events, such as `creator:c_1`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the links lead meanwhile, a normalised URL.
    pub fn fallback_url(&self) -> Option<&str> {
        self.fallback_url.as_deref()
    }

    fn holds_at(&self, now_ms: u64) -> bool {
        self.until_ms.is_none_or(|until_ms| now_ms < until_ms)
    }
}

/// Every suspension, by dimension and value.
#[derive(Clone, Debug, Default)]
pub struct Suspensions {
    by_value: [HashMap<Box<str>, Suspension, RandomState>; Dimension::ALL.len()],
    has_some: bool,
}

impl Suspensions {
    /// Adds a suspension, in place of an earlier one of the same value. Ids are compared as they are, domains and hosts
    /// in lower case.
    pub fn insert(&mut self, dimension: Dimension, value: &str, until_ms: Option<u64>, fallback_url: Option<&str>) {
        let value = canonical_value(dimension, value);
        let name = format!("{}:{value}", dimension.as_str()).into_boxed_str();
        let suspension = Suspension { name, until_ms, fallback_url: fallback_url.map(Box::from) };
        self.by_value[dimension as usize].insert(value.into(), suspension);
        self.has_some = true;
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        !self.has_some
    }

    /// Whether a suspension of the host (lower case) holds at `now_ms`.
    pub fn suspends_host(&self, host: &str, now_ms: u64) -> bool {
        let found = self.by_value[Dimension::Host as usize].get(host);
        found.is_some_and(|suspension| suspension.holds_at(now_ms))
    }

    /// The first suspension that holds for a link at `now_ms`, in the order of the dimensions. A link with several
    /// destinations is suspended with the host of any: no click may end there.
    #[cold]
    pub fn find(&self, link: &Link, domain: &Domain, now_ms: u64) -> Option<&Suspension> {
        let facts = LinkFacts::decode(link.facts())?;
        let ids = [facts.creator, facts.partner, facts.seller, facts.campaign, facts.product, &domain.name];
        // An absent id is an empty text, and no value of a suspension.
        let given = self.by_value.iter().zip(ids).filter(|(_, value)| !value.is_empty());
        let of_ids = given.filter_map(|(by_value, value)| by_value.get(value));
        let hosts = &self.by_value[Dimension::Host as usize];
        let targets = link.targets().into_iter().flat_map(|targets| targets.iter().map(|target| target.template));
        let destinations = iter::once(link.url_template()).chain(targets);
        let of_hosts = destinations.filter_map(|template| hosts.get(template.web_host()?));
        of_ids.chain(of_hosts).find(|suspension| suspension.holds_at(now_ms))
    }
}

/// The form in which values of a dimension are compared.
pub fn canonical_value(dimension: Dimension, value: &str) -> String {
    match dimension {
        Dimension::Domain | Dimension::Host => value.to_ascii_lowercase(),
        _ => value.to_owned(),
    }
}

//! All domains, found by host.

use std::collections::HashMap;

use crate::{
    links::{
        destination::policy::DestinationPolicy,
        domains::{
            choices::UnknownHosts,
            domain::{Domain, DomainId},
            host::{MAX_HOST, parse_host_or_asterisk},
            settings::{Config, Settings},
        },
    },
    uri,
};

/// Every domain, by host. Immutable: a change of a domain makes a new registry, in which the others keep their ids.
#[derive(Clone, Debug)]
pub struct Domains {
    /// The first one is `*`. A removed domain keeps its place, and no host finds it.
    all: Vec<Domain>,
    /// Indices in `all`, by host.
    by_host: HashMap<Box<[u8]>, usize, foldhash::fast::RandomState>,
    unknown_hosts: UnknownHosts,
    /// The rules for the destinations of targets.
    policy: DestinationPolicy,
}

impl Domains {
    /// Prepares every configured domain, and `*`.
    ///
    /// # Errors
    /// One of the errors in the configuration; [`Config::list_invalid_values`] lists all of them.
    pub fn new(config: &Config) -> Result<Domains, String> {
        let default = Settings::default();
        let named = config.0.iter().filter(|(name, _)| *name != "*");
        let star = config.0.get("*").unwrap_or(&default);
        let all = std::iter::once(("*", star)).chain(named.map(|(name, settings)| (name.as_str(), settings)));
        let mut domains = Domains {
            all: Vec::new(),
            by_host: HashMap::default(),
            unknown_hosts: star.unknown_hosts,
            policy: config.destination_policy(),
        };
        for (index, (name, settings)) in all.enumerate() {
            let id = DomainId::new(index, settings.case_insensitive).ok_or("too many hosts")?;
            let domain = Domain::new(id, parse_host_or_asterisk(name)?, settings, &domains.policy)
                .map_err(|error| format!("{name}: {error}"))?;
            if index > 0 {
                domains.by_host.insert(domain.name.as_bytes().into(), index);
            }
            domains.all.push(domain);
        }
        Ok(domains)
    }

    /// These domains with other settings of one, or with a new one. `host` is in lower case and punycode, or `*`.
    ///
    /// # Errors
    /// An error in the settings, or there is no place for one more.
    pub fn with_domain(&self, host: &str, settings: &Settings) -> Result<Domains, String> {
        let mut domains = self.clone();
        let index = match host {
            "*" => 0,
            host => self.by_host.get(host.as_bytes()).copied().unwrap_or(self.all.len()),
        };
        let id = DomainId::new(index, settings.case_insensitive).ok_or("too many hosts since the start; restart")?;
        let domain = Domain::new(id, host.to_owned(), settings, &self.policy)?;
        if index == 0 {
            domains.unknown_hosts = settings.unknown_hosts;
        } else {
            domains.by_host.insert(host.as_bytes().into(), index);
        }
        match domains.all.get_mut(index) {
            Some(known) => *known = domain,
            None => domains.all.push(domain),
        }
        Ok(domains)
    }

    /// These domains without one; `*` has its default settings then.
    ///
    /// # Errors
    /// As [`Domains::with_domain`].
    pub fn without_domain(&self, host: &str) -> Result<Domains, String> {
        if host == "*" {
            return self.with_domain(host, &Settings::default());
        }
        let mut domains = self.clone();
        domains.by_host.remove(host.as_bytes());
        Ok(domains)
    }

    /// The domain that serves a `Host` header. Ignores the port, one trailing dot and case; a host that is not
    /// configured has `*`, or nothing if such hosts are refused. Makes no allocation.
    pub fn find_serving_host(&self, host: &[u8]) -> Option<&Domain> {
        let index = if self.by_host.is_empty() { None } else { self.find_index_of_host(host) };
        match (index, self.unknown_hosts) {
            (Some(index), _) => Some(&self.all[index]),
            (None, UnknownHosts::Serve) => Some(&self.all[0]),
            (None, UnknownHosts::Refuse) => None,
        }
    }

    /// Whether requests for hosts that are not configured are refused, so that no request reaches `*`.
    pub fn refuses_unknown_hosts(&self) -> bool {
        self.unknown_hosts == UnknownHosts::Refuse
    }

    /// The domain that is configured for a host; `None` if `*` serves it.
    pub fn find_configured_by_host(&self, host: &[u8]) -> Option<&Domain> {
        self.find_index_of_host(host).map(|index| &self.all[index])
    }

    /// The index of a configured host.
    fn find_index_of_host(&self, host: &[u8]) -> Option<usize> {
        let host = uri::host::find_valid_host_of_authority(host).unwrap_or(host);
        let host = host.strip_suffix(b".").unwrap_or(host);
        let mut folded = [0; MAX_HOST];
        let folded = folded.get_mut(..host.len())?;
        folded.copy_from_slice(host);
        folded.make_ascii_lowercase();
        self.by_host.get(&*folded).copied()
    }

    /// The domain with this id.
    pub fn domain(&self, id: DomainId) -> &Domain {
        self.all.get(id.index()).unwrap_or(&self.all[0])
    }

    /// The domain that a link names: `*` or a configured host, in any case.
    pub fn find_by_name(&self, name: &str) -> Option<&Domain> {
        if name == "*" {
            return self.all.first();
        }
        self.find_index_of_host(name.as_bytes())
            .or_else(|| self.by_host.get(parse_host_or_asterisk(name).ok()?.as_bytes()).copied())
            .map(|index| &self.all[index])
    }

    /// The domains that hosts find; the first one is `*`.
    pub fn served(&self) -> impl Iterator<Item = &Domain> {
        let is_found =
            |(index, domain): &(usize, &Domain)| *index == 0 || self.by_host.get(domain.name.as_bytes()) == Some(index);
        self.all.iter().enumerate().filter(is_found).map(|(_, domain)| domain)
    }

    /// Every domain in the order of the ids, removed ones too; the first one is `*`.
    pub fn all(&self) -> &[Domain] {
        &self.all
    }
}

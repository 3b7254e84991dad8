//! The links file: what a token without a record is credited by.

use std::collections::HashMap;

use crate::model::link::{LinkFacts, record::Record};

/// The links of the links file, by domain and code.
#[derive(Debug)]
pub struct Links {
    as_of_ms: u64,
    by_code: HashMap<String, HashMap<String, Record>>,
}

impl Links {
    /// No links; records are judged by this time, milliseconds since the epoch.
    pub fn valid_as_of(as_of_ms: u64) -> Links {
        Links { as_of_ms, by_code: HashMap::new() }
    }

    /// Adds a record. A record that was created after `as_of_ms` does not exist yet and is left out.
    ///
    /// # Errors
    /// The record breaks a rule, or another one with its domain and code says something else; the text names the field.
    pub fn add(&mut self, record: Record) -> Result<(), String> {
        match record.validate_and_build_facts(self.as_of_ms, 0) {
            Err(errors) if errors.iter().all(|error| error.rule == "date-future") => return Ok(()),
            Err(errors) => {
                let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
                return Err(texts.join("; "));
            }
            Ok(_) => {}
        }
        if let Some(facts) = self.find(&record.domain, &record.code)
            && record.validate_and_build_facts(self.as_of_ms, 0).is_ok_and(|other| other.facts != facts)
        {
            return Err(format!(
                "code {:?} of domain {:?} stands in the file twice, with other terms; keep one of the records",
                record.code, record.domain
            ));
        }
        self.by_code.entry(record.domain.clone()).or_default().insert(record.code.clone(), record);
        Ok(())
    }

    /// The facts of a link.
    pub(super) fn find(&self, domain: &str, code: &str) -> Option<LinkFacts<'_>> {
        let record = self.by_code.get(domain)?.get(code)?;
        record.validate_and_build_facts(self.as_of_ms, 0).ok().map(|valid| valid.facts)
    }
}

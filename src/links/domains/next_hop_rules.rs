//! `next_hop_param` and `next_hop_signed` of a host, as the click path uses them.

use crate::links::destination::policy::DestinationPolicy;

/// The parameters of a domain's requests for a next hop, and whose URLs need a signature.
#[derive(Clone, Debug)]
pub struct NextHopRules {
    /// The name of the parameter with the URL.
    pub url_param: Box<str>,
    /// The name of the parameter with the signature of that URL.
    pub signature_param: Box<str>,
    /// Whether a signed URL is followed from links that do not list its host.
    pub follows_signed: bool,
    /// The rules of a signed URL, which are those of a link's own URL.
    policy: DestinationPolicy,
}

impl NextHopRules {
    /// The rules of a domain with this name for the parameter.
    pub(super) fn new(url_param: &str, follows_signed: bool, policy: &DestinationPolicy) -> NextHopRules {
        NextHopRules {
            url_param: url_param.into(),
            signature_param: signature_param_of(url_param).into(),
            follows_signed,
            policy: DestinationPolicy { app_schemes: Vec::new(), allowed_hosts: policy.allowed_hosts.clone() },
        }
    }

    /// The rules of a signed URL.
    pub(in crate::links) const fn policy(&self) -> &DestinationPolicy {
        &self.policy
    }
}

/// The name of the parameter with the signature of the URL in `url_param`.
pub fn signature_param_of(url_param: &str) -> String {
    format!("{url_param}_sig")
}
